// A training run, live: the kernel sends finished HTML for each part, so that the same pictures stay when it is gone.

/** @param {{ model: import("@anywidget/types").AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const style = document.createElement("style");
  style.textContent = model.get("style");
  const box = document.createElement("section");
  box.className = "arm-train";
  const body = document.createElement("div");
  const line = document.createElement("div");
  line.className = "arm-train-line";
  const cancel = document.createElement("button");
  cancel.type = "button";
  cancel.addEventListener("click", () => {
    cancel.disabled = true;
    model.send({ action: "cancel" });
  });
  const spoken = document.createElement("span");
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  spoken.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
  line.append(cancel, spoken);
  box.append(body, line);
  el.append(style, box);

  const show = () => {
    const open = body.querySelector("details")?.open;
    body.innerHTML = model.get("html");
    const details = body.querySelector("details");
    if (details && open) details.open = true;
    cancel.textContent = model.get("cancel_text");
    cancel.hidden = model.get("ended");
    cancel.disabled = model.get("cancelling");
  };
  // Said once an epoch and at the end: a screen reader must not talk without pause.
  const say = () => (spoken.textContent = model.get("spoken"));
  const changes = "change:html change:ended change:cancelling";
  model.on(changes, show);
  model.on("change:spoken", say);
  show();
  say();
  return () => {
    model.off(changes, show);
    model.off("change:spoken", say);
  };
}

export default { render };
