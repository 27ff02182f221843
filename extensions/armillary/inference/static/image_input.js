// The input of an app that classifies pictures: choose, photograph, drop or paste one. See app_page.js.

/** Pictures larger than this, in pixels on a side, are made smaller before they are sent. */
const LARGEST_SIDE = 1280;
/** Files up to this many bytes are sent as they are when they are small enough in pixels. */
const SENT_AS_IS = 1_500_000;
const LARGEST_FILE = 50_000_000;
/** Pictures up to this many pixels on a side are shown pixel by pixel. */
const TINY = 64;
/** A phone or tablet: there is a camera, and nothing to drag from. */
const TOUCH = matchMedia("(pointer: coarse)").matches;

/** Return the bytes to send: the file itself, or a smaller PNG of it. Throws when it is no picture. @param {File} file */
async function bytesOf(file) {
  const bitmap = await createImageBitmap(file);
  const scale = LARGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size <= SENT_AS_IS) return file.arrayBuffer();
  const shrink = Math.min(1, scale);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * shrink));
  canvas.height = Math.max(1, Math.round(bitmap.height * shrink));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return blob.arrayBuffer();
}

/** The picture asked about, as the visitor knows it. */
function pictureOf({ element, fill, texts }) {
  const image = element("img", { alt: "" });
  const caption = element("figcaption", { className: "quiet" });
  let shown = "";
  image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= TINY));
  const remove = () => URL.revokeObjectURL(shown);
  function show(file) {
    remove();
    shown = URL.createObjectURL(file);
    image.src = shown;
    image.alt = fill(texts.your_picture, { file: file.name });
    caption.textContent = file.name;
  }
  return { figure: element("figure", {}, image, caption), show, remove };
}

/** The buttons: one for files, and on a phone one for the camera. */
function choosersOf({ element, texts }, ask) {
  const id = `picture-${Math.random().toString(36).slice(2)}`;
  const buttons = element("div", { className: "buttons" });
  const add = (input, kind, text) => {
    input.addEventListener("change", () => {
      ask(input.files[0]);
      input.value = "";
    });
    buttons.append(input, element("label", { className: kind, htmlFor: input.id }, text));
  };
  add(element("input", { type: "file", id, accept: "image/*" }), "button", texts.choose);
  if (TOUCH) {
    const camera = element("input", { type: "file", id: `${id}-camera`, accept: "image/*", capture: "environment" });
    add(camera, "button second", texts.photo);
  }
  return buttons;
}

/** @param {import("./app_page.js").Page} page @returns {import("./app_page.js").Input} */
export default function imageInput(page) {
  const { element, texts } = page;
  const picture = pictureOf(page);

  /** @param {File | undefined} file */
  async function ask(file) {
    if (!file) return;
    const question = page.ask({ file: file.name });
    if (file.size > LARGEST_FILE) return question.fail("too_large");
    let bytes;
    try {
      bytes = await bytesOf(file);
    } catch {
      return question.fail("not_an_image");
    }
    if (!question.show()) return;
    picture.show(file);
    question.send({}, [new DataView(bytes)]);
  }

  const drop = element("div", { className: "drop" }, choosersOf(page, ask));
  if (!TOUCH) drop.append(element("p", {}, texts.drop));
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

  function remove() {
    document.removeEventListener("paste", paste);
    picture.remove();
  }
  const control = element("div", {}, drop, element("p", { className: "quiet" }, texts.privacy));
  return { control, beside: picture.figure, remove };
}
