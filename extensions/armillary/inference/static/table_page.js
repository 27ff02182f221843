// The page of an app for tables: one field per feature.

const PATIENCE = 30_000;

/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

/** @param {string} tag @param {Record<string, unknown>} properties @param {(Node | string)[]} children */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function controlFor(field, id, texts) {
  if (!field.choices.length) {
    return element("input", { id, type: "text", inputMode: "decimal", autocomplete: "off", placeholder: String(field.example) });
  }
  const unknown = element("option", { value: "" }, texts.unknown);
  return element("select", { id }, unknown, ...field.choices.map((choice) => element("option", { value: choice }, choice)));
}

function render({ model, el }) {
  const zh = navigator.language.toLowerCase().startsWith("zh");
  const texts = model.get("texts")[zh ? "zh" : "en"];
  const percents = new Intl.NumberFormat(navigator.language, { style: "percent", maximumFractionDigits: 1 });
  const prefix = `field-${Math.random().toString(36).slice(2)}`;

  const fields = model.get("fields").map((field, i) => ({ ...field, control: controlFor(field, `${prefix}-${i}`, texts) }));
  const grid = element("div", { className: "fields" }, ...fields.map(({ name, control }) =>
    element("div", {}, element("label", { htmlFor: control.id }, name), control)));
  const form = element("form", { noValidate: true }, grid, element("button", { type: "submit", className: "button" }, texts.predict));
  const error = element("p", { className: "error" });
  error.setAttribute("role", "alert");
  error.hidden = true;
  const list = element("ol");
  const classes = element("div", { className: "classes" }, element("h2", {}, texts.result), list);
  const answer = element("section", { className: "answer" }, classes);
  answer.hidden = true;
  const spoken = element("p", { className: "visually-hidden" });
  spoken.setAttribute("aria-live", "polite");
  el.append(element("div", { className: "app-widget" }, form, error, answer, spoken));

  let asked = 0;
  let waiting = 0;

  function fail(text) {
    clearTimeout(waiting);
    answer.hidden = true;
    error.textContent = text;
    error.hidden = false;
  }

  /** Return what is filled in, or null after marking the first field that holds no number. */
  function read() {
    const values = {};
    for (const { name, choices, control } of fields) {
      control.removeAttribute("aria-invalid");
      const text = control.value.trim();
      const number = Number(text.replace(",", "."));
      if (!choices.length && text && !Number.isFinite(number)) {
        control.setAttribute("aria-invalid", "true");
        control.focus();
        fail(fill(texts.not_a_number, { field: name }));
        return null;
      }
      if (text) values[name] = choices.length ? text : number;
    }
    return values;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    error.hidden = true;
    const values = read();
    if (!values) return;
    asked += 1;
    waiting = setTimeout(() => fail(texts.disconnected), PATIENCE);
    model.send({ id: asked, values });
  });

  function reply(message) {
    if (message.id !== asked) return;
    clearTimeout(waiting);
    if (message.error) return fail(texts[message.error]);
    list.replaceChildren(...message.classes.map(({ name, probability }) => {
      const bar = element("i");
      bar.style.width = `${100 * probability}%`;
      const track = element("div", { className: "bar" }, bar);
      track.setAttribute("aria-hidden", "true");
      const row = element("div", { className: "row" }, element("span", {}, name), element("span", {}, percents.format(probability)));
      return element("li", {}, row, track);
    }));
    answer.hidden = false;
    const [best] = message.classes;
    spoken.textContent = fill(texts.most_likely, { name: best.name, percent: (100 * best.probability).toFixed(0) });
  }
  model.on("msg:custom", reply);
  return () => model.off("msg:custom", reply);
}

export default { render };
