// A training run, live: the kernel sends finished HTML for each part, so that the same pictures stay when it is gone.

const PARTS = ["head", "line", "problem", "plots", "logs"];

/** @param {string} tag @param {string} [className] */
function element(tag, className = "") {
  return Object.assign(document.createElement(tag), { className });
}

/** @param {{ model: import("@anywidget/types").AnyModel, el: HTMLElement }} context */
function render({ model, el }) {
  const style = element("style");
  style.textContent = model.get("style");
  const cancel = Object.assign(element("button"), { type: "button", textContent: model.get("cancel_text") });
  cancel.addEventListener("click", () => {
    cancel.disabled = true;
    model.send({ action: "cancel" });
  });
  const spoken = element("span", "arm-train-spoken");
  spoken.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");
  const boxes = Object.fromEntries(PARTS.map((part) => [part, element("div")]));
  const row = element("div", "arm-train-row");
  row.append(boxes.line, cancel, spoken);
  const root = element("section", "arm-train");
  root.append(boxes.head, row, boxes.problem, boxes.plots, boxes.logs);
  el.append(style, root);

  const listeners = {
    ended: () => (cancel.hidden = model.get("ended")),
    cancelling: () => (cancel.disabled = model.get("cancelling")),
    // Said once an epoch and at the end: a screen reader must not talk without pause.
    spoken: () => (spoken.textContent = model.get("spoken")),
  };
  for (const part of PARTS) {
    listeners[part] = () => {
      const wanted = element("template");
      wanted.innerHTML = model.get(part);
      align(boxes[part], wanted.content);
    };
  }
  for (const [name, listener] of Object.entries(listeners)) {
    model.on(`change:${name}`, listener);
    listener();
  }
  return () => {
    for (const [name, listener] of Object.entries(listeners)) model.off(`change:${name}`, listener);
  };
}

export default { render };
