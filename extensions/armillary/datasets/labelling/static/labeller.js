// One example after the other, by keys alone if one likes. The views of classes, boxes and spans stand before this.
const KEYS = "1234567890acdefghijklmnopqrtvwyz"; // without those of commands: b, s, u, x
const AHEAD = 6, BEHIND = 3; // examples kept around the one shown
const VIEWS = { classes: classesView, boxes: boxesView, spans: spansView };

/** @param {string} text @param {Record<string, unknown>} values */
function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/** The colour of a class: far apart for neighbours. */
function colour(index) {
  return `hsl(${(index * 137.5 + 210) % 360} 75% 42%)`;
}

/** The key of each class: its own name where all are single digits and letters, else one after the other. */
function keysOf(labels) {
  const own = labels.map((label) => label.toLowerCase());
  return own.every((key) => key.length === 1 && KEYS.includes(key)) && new Set(own).size === own.length ? own : [...KEYS].slice(0, labels.length);
}

/** @param {string} tag @param {string} className @param {string} [text] */
function made(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function madeButton(text, act, key = "") {
  const button = made("button", "", text);
  button.type = "button";
  if (key) button.prepend(made("kbd", "", key));
  button.addEventListener("click", act);
  return button;
}

function render({ model, el }) {
  const texts = model.get("texts");
  const root = made("section", "arm-label"), heading = made("h3", ""), bar = made("progress", ""), where = made("span", "");
  const head = made("div", "arm-label-head"), stage = made("div", "arm-label-stage"), below = made("div", "");
  const classes = made("div", "arm-label-classes"), tools = made("div", "arm-label-tools"), help = made("dl", "arm-label-keys");
  const status = made("p", "arm-label-status"), wrong = made("p", "arm-label-wrong"), votes = made("p", "arm-label-votes");
  const search = made("input", "arm-label-search");
  stage.tabIndex = 0;
  stage.setAttribute("role", "application"); // so that screen readers leave letters and digits to us
  status.setAttribute("role", "status");
  wrong.setAttribute("role", "alert");
  classes.setAttribute("role", "group");
  classes.setAttribute("aria-label", texts.labels);
  bar.setAttribute("aria-hidden", "true"); // the words beside it say the same
  search.type = "search";
  search.placeholder = texts.filter;
  search.setAttribute("aria-label", texts.filter);
  head.append(bar, where);
  help.hidden = true;
  // JupyterLab's own shortcuts (D D deletes the cell) stay away from here.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.append(heading, head, stage, below, votes, status, wrong, search, classes, tools, help);
  el.append(root);

  let generation = -1, place = 0, view = null, since = 0, removing = null;
  let kept = new Map(), asked = new Set(), buttons = [], keys = [];
  const urls = new Map();

  const ctx = {
    texts, stage, below,
    get item() { return kept.get(place); },
    get labels() { return model.get("labels"); },
    get unit() { return model.get("unit"); },
    say, marks, skip,
    /** Take the answer to the example shown, and go on if that ends it. */
    answer(answer, goOn) {
      const item = kept.get(place);
      if (!item) return;
      item.answer = answer;
      item.done = true;
      send({ type: "answer", place, answer, seconds: (performance.now() - since) / 1000 });
      if (goOn) go(place + 1, `✓ ${view.describe(answer)}`);
      else marks();
    },
  };

  function send(message) {
    model.send({ ...message, generation });
  }

  function say(text) {
    // The same words twice are read twice only when they change in between.
    status.textContent = status.textContent === text ? `${text}\u00a0` : text;
  }

  // Examples come when one comes near them, and go when one is far.

  function drop(from, to) {
    for (const [at, list] of urls) {
      if (at >= from && at <= to) continue;
      list.forEach(URL.revokeObjectURL);
      urls.delete(at);
      kept.delete(at);
    }
    for (const at of kept.keys()) if (at < from || at > to) kept.delete(at);
  }

  function prefetch() {
    drop(place - BEHIND, place + AHEAD);
    const near = [...Array(AHEAD + 1).keys()].map((step) => place + step).concat([...Array(BEHIND).keys()].map((step) => place - 1 - step));
    const missing = near.filter((at) => at >= 0 && at < model.get("total") && !kept.has(at) && !asked.has(at));
    if (!missing.length || asked.size > 1) return;
    asked.add(missing[0]);
    send({ type: "item", place: missing[0] });
    prefetch();
  }

  function arrived(item, buffers) {
    asked.delete(item.place);
    if (item.place >= place - BEHIND && item.place <= place + AHEAD) {
      for (const medium of item.media) {
        if (medium.buffer < 0) continue;
        const view_ = buffers[medium.buffer];
        const bytes = new Uint8Array(view_.buffer, view_.byteOffset, view_.byteLength);
        medium.url = URL.createObjectURL(new Blob([bytes], { type: medium.type }));
        urls.set(item.place, [...(urls.get(item.place) ?? []), medium.url]);
      }
      kept.set(item.place, item);
      if (item.place === place) draw();
    }
    prefetch();
  }

  // One example.

  function go(to, first = "") {
    const total = model.get("total");
    if (to < 0 || to >= total) {
      say([first, to < 0 ? texts.first : texts.last].filter(Boolean).join(" · "));
      marks();
      return;
    }
    view?.leave?.();
    place = to;
    since = performance.now();
    model.set("place", place);
    model.save_changes();
    draw(first);
    prefetch();
  }

  function draw(first = "") {
    const item = kept.get(place), total = model.get("total");
    stage.replaceChildren();
    below.replaceChildren();
    stage.setAttribute("aria-busy", String(total > 0 && !item)); // keys wait, too: nothing is labelled unseen
    if (total === 0) stage.append(made("p", "", texts.nothing));
    else if (!item) stage.append(made("p", "", texts.loading));
    else {
      view.show(item, stage);
      votes.textContent = item.votes ? fill(texts.votes, { votes: Object.entries(item.votes).map(([who, answer]) => `${who}: ${view.describe(answer).replace(/^[^:：]*[:：]\s*/, "")}`).join(" · ") }) : "";
      const words = [first, fill(texts.where, { place: place + 1, total }), item.text ?? item.tokens?.join(" ") ?? item.texts.map(({ text }) => text).join(", ").slice(0, 200), view.describe(item.answer)];
      say(words.filter(Boolean).join(" · "));
    }
    wrong.textContent = "";
    marks();
  }

  /** Show the state of the example, without drawing it anew. */
  function marks() {
    const item = kept.get(place), total = model.get("total");
    bar.max = Math.max(1, total);
    bar.value = Math.min(model.get("done"), total);
    where.textContent = `${fill(texts.where, { place: total ? place + 1 : 0, total })} · ${fill(texts.done, { done: model.get("done") })}${item?.done ? " · ✓" : ""}`;
    stage.classList.toggle("arm-label-removed", Boolean(item?.removed));
    stage.dataset.removed = texts.removed;
    if (removing) removing.lastChild.textContent = item?.removed ? texts.restore : texts.remove;
    for (const { label, button } of buttons) button.setAttribute("aria-pressed", String(Boolean(item && view.pressed(item, label))));
  }

  function skip() {
    if (!kept.has(place)) return;
    kept.get(place).done = true;
    send({ type: "skip", place });
    go(place + 1, texts.skipped);
  }

  function remove() {
    if (!model.get("may_remove") || !kept.has(place)) return;
    const item = kept.get(place);
    item.removed = !item.removed;
    send({ type: "remove", place });
    if (item.removed) go(place + 1, texts.removed);
    else marks();
  }

  const choose = (label) => kept.has(place) && view.choose(label);
  const undo = () => send({ type: "undo" });

  // Keys and buttons.

  function build() {
    view?.close?.();
    generation = model.get("generation");
    view = VIEWS[model.get("kind")](ctx);
    drop(1, 0);
    asked = new Set();
    place = model.get("place");
    heading.textContent = model.get("title");
    heading.hidden = !model.get("title");
    stage.setAttribute("aria-label", model.get("title") || texts.labels);
    const labels = model.get("labels");
    keys = keysOf(labels);
    buttons = labels.map((label, index) => ({ label, button: madeButton(label, () => choose(label), keys[index] ?? "") }));
    buttons.forEach(({ button }, index) => button.style.setProperty("--colour", colour(index)));
    classes.replaceChildren(...buttons.map(({ button }) => button));
    search.hidden = labels.length <= KEYS.length;
    search.value = "";
    find();
    removing = model.get("may_remove") ? madeButton(texts.remove, remove, "x") : null;
    tools.replaceChildren(madeButton(texts.previous, () => go(place - 1), "←"), madeButton(texts.next, () => go(place + 1), "→"),
      madeButton(texts.undo, undo, "u"), madeButton(texts.skip, skip, "s"),
      ...(view.tools ?? []).map(([name, act, key]) => madeButton(texts[name], () => { act(); stage.focus(); }, key)),
      ...(removing ? [removing] : []), madeButton(texts.keys, toggleHelp, "?"));
    const rows = [...view.help, ...(view.help.some(([key]) => key.includes("↑")) ? [] : [["← →", texts.key_arrows]]),
      ["Enter", texts.key_enter], ["u", texts.key_undo], ["s", texts.key_skip],
      ...(removing ? [["x", texts.key_remove]] : []), ...(search.hidden ? [] : [["/", texts.key_filter]]), ["?", texts.key_help]];
    help.replaceChildren(...rows.flatMap(([key, what]) => {
      const term = document.createElement("dt");
      const name = key === "class" ? [keys[0], keys[keys.length - 1]].filter((one, i, all) => one && all.indexOf(one) === i).join(" … ") : key;
      term.append(made("kbd", "", name));
      return [term, made("dd", "", what)];
    }));
    draw();
    since = performance.now();
    prefetch();
  }

  function toggleHelp() {
    help.hidden = !help.hidden;
    if (!help.hidden) help.scrollIntoView({ block: "nearest" });
  }

  function find() {
    const wanted = search.value.trim().toLowerCase();
    for (const { label, button } of buttons) button.hidden = Boolean(wanted) && !label.toLowerCase().includes(wanted);
  }

  function pressed(event) {
    const typing = event.target === search, onButton = event.target.closest("button");
    event.stopPropagation(); // the notebook has its own use for these keys
    if (event.isComposing) return; // Enter ends a word that is typed in pinyin
    if (typing) {
      const found = buttons.find(({ button }) => !button.hidden);
      if (event.key === "Enter" && found) choose(found.label);
      if (event.key !== "Enter" && event.key !== "Escape") return;
      search.value = "";
      find();
      stage.focus();
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.key === "Tab" || (onButton && [" ", "Enter"].includes(event.key))) return;
    if (view.key(event) || command(event)) event.preventDefault();
  }

  function command(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // On French keyboards the row of digits gives letters; on all, the number block gives digits.
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
    const at = keys.indexOf(digit && !event.shiftKey ? digit : key);
    if (key === "?") toggleHelp();
    else if (key === "Escape" && !help.hidden) toggleHelp();
    else if (key === "ArrowLeft" || key === "ArrowUp" || key === "PageUp") go(place - 1);
    else if (key === "ArrowRight" || key === "ArrowDown" || key === "PageDown") go(place + 1);
    else if (key === "Enter") { if (kept.has(place)) view.accept(); }
    else if (key === "u") undo();
    else if (key === "s") skip();
    else if (key === "x") remove();
    else if (key === "/" && !search.hidden) search.focus();
    else if (at >= 0 && !event.altKey) choose(buttons[at].label);
    else return false;
    return true;
  }

  // What the kernel says.

  function heard(message, buffers) {
    if (message.generation !== generation) return;
    const item = kept.get(message.place);
    if (message.type === "item") arrived(message.item, buffers);
    else if (message.type === "noted") {
      if (item) Object.assign(item, { done: message.done, removed: message.removed });
      marks();
    } else if (message.type === "refused") {
      asked.delete(message.place);
      if (!item && Number.isInteger(message.place) && message.place !== place) return; // asked for again when it is to be shown
      if (item) Object.assign(item, { answer: message.answer, done: message.done, removed: message.removed });
      if (item && message.place !== place) go(message.place);
      else draw();
      wrong.textContent = message.message;
    } else if (message.type === "undone") {
      if (item) Object.assign(item, { answer: message.answer, done: message.done, removed: message.removed });
      if (message.place >= 0 && message.place !== place) go(message.place, texts.undone);
      else if (message.place < 0 && !message.elsewhere) say(texts.nothing_to_undo);
      else draw(texts.undone);
    } else if (message.type === "stale") {
      drop(1, 0);
      asked = new Set();
      prefetch();
    }
  }

  root.addEventListener("keydown", pressed);
  root.addEventListener("keyup", (event) => view.keyUp?.(event));
  search.addEventListener("input", find);
  model.on("msg:custom", heard);
  model.on("change:generation", build);
  model.on("change:done", marks);
  build();
  return () => {
    view.close?.();
    drop(1, 0);
    model.off("msg:custom", heard);
    model.off("change:generation", build);
    model.off("change:done", marks);
  };
}

export default { render };
