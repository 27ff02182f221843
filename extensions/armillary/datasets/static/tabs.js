// A row of tabs (WAI-ARIA's pattern, selected as they are walked); what they show are other widgets.
function render({ model, el }) {
  const list = document.createElement("div");
  list.className = "arm-tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", model.get("label"));
  const tabs = model.get("titles").map((title, number) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.textContent = title;
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => select(number));
    return tab;
  });
  list.append(...tabs);
  el.append(list);

  function select(number) {
    model.set("selected", number);
    model.save_changes();
  }

  function draw() {
    tabs.forEach((tab, number) => {
      const chosen = number === model.get("selected");
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    });
  }

  list.addEventListener("keydown", (event) => {
    const at = model.get("selected"), last = tabs.length - 1;
    const moves = { ArrowLeft: at ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last };
    if (!(event.key in moves)) return;
    select(moves[event.key]);
    tabs[moves[event.key]].focus();
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
  });
  model.on("change:selected", draw);
  draw();
  return () => model.off("change:selected", draw);
}

export default { render };
