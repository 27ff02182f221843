// What the pages of all apps are: an input, the model's answer below it, and words when there is none.
//
// The input is a module of its own, which the kernel sends as text (a widget's module cannot import its neighbours):
// its default export takes the page (see `Page`) and returns its parts (see `Input`).

/**
 * @typedef {object} Page What an input may use.
 * @property {import("@anywidget/types").AnyModel} model
 * @property {Record<string, string>} texts In the visitor's language.
 * @property {typeof element} element
 * @property {typeof fill} fill
 * @property {(values?: Record<string, string>) => Question} ask Begins a question; `values` fill the texts about it.
 *
 * @typedef {object} Question Does nothing any more once another has begun.
 * @property {(content: object, buffers?: DataView[]) => void} send
 * @property {(text: string, values?: Record<string, string>) => void} fail Says why there is no answer: a text's name.
 * @property {() => boolean} show Shows the answer's place, where the input has a part too; tells whether it may.
 *
 * @typedef {object} Input
 * @property {Node} control Where the visitor gives something.
 * @property {Node} [beside] What stands beside the classes.
 * @property {() => void} [remove] Undoes what was done outside these nodes.
 */

/** Milliseconds to wait for an answer. */
const PATIENCE = 30_000;

/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

/** Return the first of the visitor's languages that we have, which is the rule of the hub's pages. */
const language = () => navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => ["en", "zh"].includes(tag)) ?? "en";

/** @param {string} tag @param {Record<string, unknown>} properties @param {(Node | string)[]} children */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** @param {string} source @returns {Promise<(page: Page) => Input>} */
async function inputOf(source) {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return (await import(/* webpackIgnore: true */ url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** One class: its name, its probability, and a bar as long as that. */
function classRow({ name, probability }, percents) {
  const bar = element("i");
  bar.style.width = `${100 * probability}%`;
  const words = element("div", { className: "row" }, element("span", {}, name), element("span", {}, percents.format(probability)));
  return element("li", {}, words, element("div", { className: "bar", "aria-hidden": "true" }, bar));
}

/** @param {{ model: import("@anywidget/types").AnyModel, el: HTMLElement }} context */
async function render({ model, el }) {
  const texts = model.get("texts")[language()];
  const percents = new Intl.NumberFormat(navigator.language, { style: "percent", maximumFractionDigits: 1 });

  const status = element("p", { className: "status", role: "status" });
  const error = element("p", { className: "error", role: "alert", hidden: true });
  const list = element("ol");
  const classes = element("div", { className: "classes" }, element("h2", {}, texts.result), list);
  const answer = element("section", { className: "answer", hidden: true }, classes);
  const spoken = element("p", { className: "visually-hidden", "aria-live": "polite" });

  let asked = 0;
  let waiting = 0;
  /** @type {Question | undefined} */
  let current;

  function settle() {
    clearTimeout(waiting);
    status.textContent = "";
    answer.removeAttribute("aria-busy");
  }

  function giveUp(text) {
    settle();
    answer.hidden = true;
    error.textContent = text;
    error.hidden = false;
  }

  function ask(values = {}) {
    const number = ++asked;
    settle();
    error.hidden = true;
    spoken.textContent = "";
    status.textContent = texts.working;
    answer.setAttribute("aria-busy", "true");
    const question = {
      fail(text, more = {}) {
        if (number === asked) giveUp(fill(texts[text], { ...values, ...more }));
      },
      show() {
        if (number === asked) answer.hidden = false;
        return number === asked;
      },
      send(content, buffers = []) {
        if (number !== asked) return;
        waiting = setTimeout(() => question.fail("disconnected"), PATIENCE);
        model.send({ ...content, id: number }, undefined, buffers);
      },
    };
    current = question;
    return question;
  }

  function reply(message) {
    if (message.id !== asked) return;
    if (message.error) return current.fail(message.error);
    settle();
    list.replaceChildren(...message.classes.map((each) => classRow(each, percents)));
    answer.hidden = false;
    const [best] = message.classes;
    spoken.textContent = fill(texts.most_likely, { name: best.name, percent: (100 * best.probability).toFixed(0) });
  }

  const makeInput = await inputOf(model.get("input_module"));
  const input = makeInput({ model, texts, element, fill, ask });
  if (input.beside) answer.prepend(input.beside);
  el.append(element("div", { className: "app-widget" }, input.control, status, error, answer, spoken));
  model.on("msg:custom", reply);
  return () => {
    clearTimeout(waiting);
    model.off("msg:custom", reply);
    input.remove?.();
  };
}

export default { render };
