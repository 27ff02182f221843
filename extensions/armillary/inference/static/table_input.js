// The input of an app for tables: one field per feature, and a button. See app_page.js.

/** A number's field, or with choices a list of them. */
function controlOf({ name, choices, example }, id, { element, texts }) {
  if (!choices.length) {
    const control = element("input", { id, type: "text", inputMode: "decimal", autocomplete: "off", placeholder: String(example) });
    return { name, choices, control };
  }
  const options = choices.map((choice) => element("option", { value: choice }, choice));
  return { name, choices, control: element("select", { id }, element("option", { value: "" }, texts.unknown), ...options) };
}

/** Return what a field holds: null when it is empty, NaN when it should be a number and is none. */
function valueOf({ choices, control }) {
  const text = control.value.trim();
  if (!text) return null;
  if (choices.length) return text;
  const number = Number(text.replace(",", "."));
  return Number.isFinite(number) ? number : NaN;
}

/** @param {import("./app_page.js").Page} page @returns {import("./app_page.js").Input} */
export default function tableInput(page) {
  const { model, element, texts } = page;
  const prefix = `field-${Math.random().toString(36).slice(2)}`;
  const fields = model.get("fields").map((field, i) => controlOf(field, `${prefix}-${i}`, page));
  const grid = element("div", { className: "fields" }, ...fields.map(({ name, control }) =>
    element("div", {}, element("label", { htmlFor: control.id }, name), control)));
  const button = element("button", { type: "submit", className: "button" }, texts.predict);
  const form = element("form", { noValidate: true }, grid, button);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = page.ask();
    const values = {};
    let wrong = null;
    for (const field of fields) {
      const value = valueOf(field);
      field.control.setAttribute("aria-invalid", String(Number.isNaN(value)));
      if (Number.isNaN(value)) wrong ??= field;
      else if (value !== null) values[field.name] = value;
    }
    if (!wrong) return question.send({ values });
    wrong.control.focus();
    question.fail("not_a_number", { field: wrong.name });
  });
  return { control: form };
}
