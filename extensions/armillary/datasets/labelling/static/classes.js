// Classes: one key, and the next example is there. Part of labeller.js.

/** The view of what an example is, whole. */
function classesView(ctx) {
  return {
    help: [["class", ctx.texts.key_class]],
    show(item, stage) {
      stage.append(...item.media.map((medium) => mediumElement(medium, item, ctx)), textsElement(item));
    },
    pressed: (item, label) => item.answer === label,
    choose(label) { ctx.answer(label, true); },
    accept() { if (ctx.item.answer === null) ctx.skip(); else ctx.answer(ctx.item.answer, true); },
    describe: (answer) => (answer === null ? ctx.texts.unlabelled : fill(ctx.texts.present, { label: answer })),
    key: () => false,
  };
}

/** A picture, sound or video, or a note where there is none. */
function mediumElement(medium, item, ctx) {
  const figure = document.createElement("figure");
  const tags = { image: "img", audio: "audio", video: "video" };
  if (medium.url) {
    const element = document.createElement(tags[medium.kind]);
    element.src = medium.url;
    if (medium.kind === "image") {
      element.alt = `${medium.name} ${item.place + 1}`;
      if (Math.max(medium.width, medium.height) < 200) element.className = "arm-label-small";
    } else {
      element.controls = true;
      element.setAttribute("aria-label", medium.name);
    }
    figure.append(element);
  }
  if (medium.note) {
    const note = document.createElement("figcaption");
    note.textContent = medium.url ? medium.note : `⚠ ${medium.name}: ${medium.note}`;
    figure.append(note);
  }
  return figure;
}

function textsElement(item) {
  const list = document.createElement("dl");
  for (const { name, text } of item.texts) {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = name;
    value.textContent = text;
    list.append(term, value);
  }
  list.hidden = item.texts.length === 0;
  return list;
}
