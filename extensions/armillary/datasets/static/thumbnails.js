// Some pictures: one list, walked with the arrow keys.

/** @param {DataView} view */
function url(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const type = bytes[0] === 0x89 ? "image/png" : "image/jpeg";
  return URL.createObjectURL(new Blob([bytes], { type }));
}

function render({ model, el }) {
  const texts = model.get("texts");
  const root = document.createElement("section");
  root.className = "arm-thumbs";
  const heading = document.createElement("h4");
  const list = document.createElement("ul");
  root.append(heading, list);
  el.append(root);
  let urls = [];

  function item(view, caption, index) {
    const entry = document.createElement("li");
    entry.tabIndex = index === 0 ? 0 : -1;
    const figure = document.createElement("figure");
    const text = document.createElement("figcaption");
    if (view.byteLength) {
      const image = document.createElement("img");
      image.alt = caption;
      image.src = url(view);
      urls.push(image.src);
      figure.append(image);
      text.textContent = caption;
      text.setAttribute("aria-hidden", "true"); // the picture's alternative text says it already
    } else {
      const missing = document.createElement("span");
      missing.className = "arm-thumbs-damaged";
      missing.textContent = `⚠ ${texts.damaged}`;
      figure.append(missing);
      text.textContent = caption;
    }
    figure.append(text);
    entry.append(figure);
    return entry;
  }

  function draw() {
    urls.forEach(URL.revokeObjectURL);
    urls = [];
    const images = model.get("images"), captions = model.get("captions");
    heading.textContent = model.get("title");
    root.style.setProperty("--arm-thumb", `${model.get("side")}px`);
    heading.hidden = !model.get("title");
    list.setAttribute("aria-label", model.get("title"));
    list.replaceChildren(...images.map((view, index) => item(view, captions[index] ?? "", index)));
  }

  function perRow() {
    const tops = [...list.children].map((entry) => entry.offsetTop);
    const end = tops.findIndex((top) => top !== tops[0]);
    return end < 0 ? tops.length : end;
  }

  function move(from, to) {
    const target = list.children[Math.max(0, Math.min(list.children.length - 1, to))];
    if (!target) return;
    list.children[from].tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  list.addEventListener("keydown", (event) => {
    const at = [...list.children].indexOf(document.activeElement);
    if (at < 0) return;
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - perRow(), ArrowDown: at + perRow(), Home: 0, End: list.children.length - 1 };
    if (!(event.key in moves)) return;
    move(at, moves[event.key]);
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
  });
  const changes = "change:images change:captions change:title change:side";
  let waiting = 0;
  const redraw = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(draw); };
  model.on(changes, redraw);
  draw();
  return () => { model.off(changes, redraw); urls.forEach(URL.revokeObjectURL); };
}

export default { render };
