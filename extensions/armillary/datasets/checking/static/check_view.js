// A report to go through: a kind is chosen, its findings are cards, each with a box to accept what it suggests.
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));

/** @param {string} tag @param {string} [text] @param {Record<string, string>} [attributes] */
function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function render({ model, el }) {
  const texts = model.get("texts");
  const root = element("section", "", { class: "arm-check" });
  const head = element("div");
  head.innerHTML = model.get("head");
  const tools = element("div", "", { class: "arm-check-bar-of-tools" });
  const kinds = element("select", "", { "aria-label": texts.kind });
  for (const kind of model.get("kinds")) kinds.append(element("option", kind.title, { value: kind.name }));
  const all = element("button", texts.all, { type: "button" });
  const none = element("button", texts.none, { type: "button" });
  const count = element("span", "", { role: "status" });
  tools.append(kinds, all, none, count);
  const meaning = element("p");
  const list = element("ul");
  const nav = element("nav", "", { class: "arm-check-bar-of-tools" });
  const previous = element("button", "‹", { type: "button", "aria-label": texts.previous, title: texts.previous });
  const next = element("button", "›", { type: "button", "aria-label": texts.next, title: texts.next });
  const where = element("span", "", { role: "status" });
  nav.append(previous, where, next);
  const notes = element("div");
  notes.innerHTML = model.get("notes");
  root.append(head, tools, meaning, list, nav, notes);
  el.append(root);
  if (!model.get("kinds").length) tools.replaceChildren(element("p", texts.nothing));

  function card({ number, html, action }) {
    const item = element("li", "", { class: "arm-check-card" });
    const body = element("div", "", { id: `arm-check-${model.model_id ?? ""}-${number}` });
    body.innerHTML = html;
    item.append(body);
    if (!action) {
      item.append(element("p", texts.decide));
      return item;
    }
    const label = element("label");
    const box = element("input", "", { type: "checkbox", "aria-describedby": body.id });
    box.dataset.number = String(number);
    box.addEventListener("change", () => {
      const accepted = new Set(model.get("accepted"));
      if (box.checked) accepted.add(number);
      else accepted.delete(number);
      model.set("accepted", [...accepted].sort((a, b) => a - b));
      model.save_changes();
    });
    label.append(box, document.createTextNode(action));
    item.append(label);
    return item;
  }

  function draw() {
    const [page, pages] = [model.get("shown_page"), model.get("pages")];
    const kind = model.get("kinds").find((each) => each.name === model.get("kind"));
    kinds.value = model.get("kind");
    meaning.textContent = kind?.meaning ?? "";
    list.replaceChildren(...model.get("cards").map(card));
    list.setAttribute("aria-label", kind?.title ?? "");
    all.disabled = none.disabled = !model.get("cards").some((each) => each.action);
    nav.hidden = pages < 2;
    nav.style.display = pages < 2 ? "none" : "";
    previous.disabled = page <= 0;
    next.disabled = page >= pages - 1;
    where.textContent = fill(texts.page, { page: page + 1, pages });
    mark();
  }

  function mark() {
    const accepted = new Set(model.get("accepted"));
    for (const box of list.querySelectorAll("input")) box.checked = accepted.has(Number(box.dataset.number));
    count.textContent = fill(texts.accepted, { n: accepted.size });
  }

  function set(name, value) {
    model.set(name, value);
    model.save_changes();
  }
  kinds.addEventListener("change", () => set("kind", kinds.value));
  all.addEventListener("click", () => model.send({ all: "accept" }));
  none.addEventListener("click", () => model.send({ all: "reject" }));
  previous.addEventListener("click", () => set("shown_page", model.get("shown_page") - 1));
  next.addEventListener("click", () => set("shown_page", model.get("shown_page") + 1));
  const shown = "change:cards change:pages";
  model.on(shown, draw);
  model.on("change:accepted", mark);
  draw();
  return () => {
    model.off(shown, draw);
    model.off("change:accepted", mark);
  };
}

export default { render };
