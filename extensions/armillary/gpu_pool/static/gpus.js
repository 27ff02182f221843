// The hub's GPUs, current for as long as they can be seen: the browser asks, so nothing goes on when the cell is cleared.

/** Milliseconds between two questions, and without a hand on mouse or keyboard after which no more are asked. */
const PERIOD = 2000;
const PATIENCE = 30 * 60 * 1000;

/** @param {{ model: import("@anywidget/types").AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const root = document.createElement("section");
  root.className = "arm-gpus";
  root.tabIndex = -1;
  const page = document.createElement("div");
  const spoken = document.createElement("p");
  spoken.className = "arm-gpus-hidden";
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  root.append(page, spoken);
  el.append(root);

  let asked = false;
  let seen = true;
  let touched = Date.now();
  const touch = () => (touched = Date.now());
  const show = () => {
    asked = false;
    const wanted = document.createElement("template");
    wanted.innerHTML = model.get("html");
    const held = page.contains(document.activeElement);
    align(page, wanted.content);
    if (held && !page.contains(document.activeElement)) root.focus(); // its button is gone
    // A button that was pressed is another one now, or stands for another lease.
    for (const button of page.querySelectorAll("button")) button.disabled = false;
    // A screen reader hears of a new place, and of nothing else.
    if (spoken.textContent !== model.get("spoken")) spoken.textContent = model.get("spoken");
  };
  const ask = () => {
    if (asked || !seen || document.hidden || !root.isConnected || Date.now() - touched > PATIENCE) return;
    asked = true;
    model.send({ action: "refresh" });
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (!button || (button.dataset.question && !confirm(button.dataset.question))) return;
    button.disabled = true;
    asked = true;
    model.send({ action: button.dataset.action, lease: button.dataset.lease });
  });
  const watcher = new IntersectionObserver((entries) => (seen = entries.at(-1).isIntersecting));
  watcher.observe(root);
  const timer = setInterval(ask, PERIOD);
  for (const kind of ["pointermove", "keydown"]) document.addEventListener(kind, touch, { passive: true });
  model.on("change:news", show);
  show();
  return () => {
    clearInterval(timer);
    watcher.disconnect();
    for (const kind of ["pointermove", "keydown"]) document.removeEventListener(kind, touch);
    model.off("change:news", show);
  };
}

export default { render };
