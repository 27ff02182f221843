// The page of an app that classifies pictures.

/** Pictures larger than this, in pixels on a side, are made smaller before they are sent. */
const LARGEST_SIDE = 1280;
/** Files up to this many bytes are sent as they are when they are small enough in pixels. */
const SENT_AS_IS = 1_500_000;
const LARGEST_FILE = 50_000_000;
const PATIENCE = 30_000;

/** @param {string} text @param {Record<string, string | number>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));

/** @param {string} tag @param {Record<string, unknown>} properties @param {(Node | string)[]} children */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Return the bytes to send: the file itself, or a smaller PNG of it. Throws when it is no picture. @param {File} file */
async function bytesOf(file) {
  const bitmap = await createImageBitmap(file);
  const scale = LARGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size <= SENT_AS_IS) return file.arrayBuffer();
  const shrink = Math.min(1, scale);
  const canvas = element("canvas", {
    width: Math.max(1, Math.round(bitmap.width * shrink)),
    height: Math.max(1, Math.round(bitmap.height * shrink)),
  });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return blob.arrayBuffer();
}

function render({ model, el }) {
  const zh = navigator.language.toLowerCase().startsWith("zh");
  const texts = model.get("texts")[zh ? "zh" : "en"];
  const percents = new Intl.NumberFormat(navigator.language, { style: "percent", maximumFractionDigits: 1 });
  const id = `picture-${Math.random().toString(36).slice(2)}`;

  const chooser = element("input", { type: "file", id, accept: "image/*" });
  const camera = element("input", { type: "file", id: `${id}-camera`, accept: "image/*" });
  camera.setAttribute("capture", "environment");
  const buttons = element("div", { className: "buttons" }, chooser, element("label", { className: "button", htmlFor: id }, texts.choose));
  if (matchMedia("(pointer: coarse)").matches) {
    buttons.append(camera, element("label", { className: "button second", htmlFor: camera.id }, texts.photo));
  }
  const drop = element("div", { className: "drop" }, buttons, element("p", {}, texts.drop));
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  status.hidden = true;
  const error = element("p", { className: "error" });
  error.setAttribute("role", "alert");
  error.hidden = true;
  const picture = element("img", { alt: "" });
  const caption = element("figcaption", { className: "quiet" });
  const list = element("ol");
  const spoken = element("p", { className: "visually-hidden" });
  spoken.setAttribute("aria-live", "polite");
  const classes = element("div", { className: "classes" }, element("h2", {}, texts.result), list);
  const answer = element("section", { className: "answer" }, element("figure", {}, picture, caption), classes);
  answer.hidden = true;
  const root = element("div", { className: "app-widget" }, drop, status, error, answer, spoken, element("p", { className: "quiet" }, texts.privacy));
  el.append(root);

  let asked = 0;
  let waiting = 0;
  let shown = "";

  function fail(key, file) {
    clearTimeout(waiting);
    status.hidden = true;
    error.textContent = fill(texts[key], { file });
    error.hidden = false;
  }

  function show(file) {
    URL.revokeObjectURL(shown);
    shown = URL.createObjectURL(file);
    picture.onload = () => picture.classList.toggle("tiny", Math.max(picture.naturalWidth, picture.naturalHeight) <= 64);
    picture.src = shown;
    picture.alt = fill(texts.your_picture, { file: file.name });
    caption.textContent = file.name;
    list.replaceChildren();
    classes.hidden = true;
    answer.hidden = false;
  }

  /** @param {File | undefined} file */
  async function ask(file) {
    if (!file) return;
    const number = ++asked;
    clearTimeout(waiting);
    answer.hidden = true;
    error.hidden = true;
    spoken.textContent = "";
    if (file.size > LARGEST_FILE) return fail("too_large", file.name);
    status.textContent = texts.working;
    status.hidden = false;
    let bytes;
    try {
      bytes = await bytesOf(file);
    } catch {
      if (number === asked) fail("not_an_image", file.name);
      return;
    }
    if (number !== asked) return;
    show(file);
    waiting = setTimeout(() => fail("disconnected", file.name), PATIENCE);
    model.send({ id: number, file: file.name }, undefined, [new DataView(bytes)]);
  }

  function reply(message) {
    if (message.id !== asked) return;
    clearTimeout(waiting);
    status.hidden = true;
    if (message.error) {
      answer.hidden = true;
      return fail(message.error, caption.textContent);
    }
    list.replaceChildren(...message.classes.map(({ name, probability }) => {
      const bar = element("i");
      bar.style.width = `${100 * probability}%`;
      const track = element("div", { className: "bar" }, bar);
      track.setAttribute("aria-hidden", "true");
      const row = element("div", { className: "row" }, element("span", {}, name), element("span", {}, percents.format(probability)));
      return element("li", {}, row, track);
    }));
    classes.hidden = false;
    const [best] = message.classes;
    spoken.textContent = fill(texts.most_likely, { name: best.name, percent: (100 * best.probability).toFixed(0) });
  }

  for (const input of [chooser, camera]) {
    input.addEventListener("change", () => {
      ask(input.files[0]);
      input.value = "";
    });
  }
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    ask(event.dataTransfer.files[0]);
  });
  const paste = (event) => ask(event.clipboardData.files[0]);
  document.addEventListener("paste", paste);
  model.on("msg:custom", reply);
  return () => {
    document.removeEventListener("paste", paste);
    model.off("msg:custom", reply);
    URL.revokeObjectURL(shown);
  };
}

export default { render };
