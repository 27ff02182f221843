// A field to drop a file on; sends it in pieces and waits for each to be acknowledged.
const PIECE = 1 << 20;
const IN_FLIGHT = 4;

/** @param {string} text @param {Record<string, string>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");

/** @param {number} bytes */
function readable(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${bytes.toFixed(unit && bytes < 10 ? 1 : 0)} ${units[unit]}`;
}

/** @param {string} tag @param {string} className @param {string} [text] */
function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function render({ model, el }) {
  const texts = model.get("texts");
  const zone = make("div", "arm-upload");
  const prompt = make("p", "arm-upload-prompt", texts.drop + " ");
  const label = make("label", "arm-upload-choose", texts.choose);
  const input = /** @type {HTMLInputElement} */ (make("input", "arm-upload-input"));
  input.type = "file";
  input.accept = model.get("suffixes").join(",");
  label.append(input);
  prompt.append(label);
  const hint = make("p", "arm-upload-hint", texts.hint);
  const bar = /** @type {HTMLProgressElement} */ (make("progress", "arm-upload-bar"));
  const cancel = /** @type {HTMLButtonElement} */ (make("button", "arm-upload-cancel", texts.cancel));
  cancel.type = "button";
  const line = make("div", "arm-upload-line");
  line.append(bar, cancel);
  line.hidden = true;
  const status = make("p", "arm-upload-status");
  status.setAttribute("role", "status");
  zone.append(prompt, hint, line, status);
  el.append(zone);

  /** @type {{file: File, id: string, sent: number, received: number} | null} */
  let upload = null;

  function say(text, wrong = false) {
    status.textContent = text;
    status.classList.toggle("arm-upload-wrong", wrong);
  }

  function finish(text, wrong = false) {
    upload = null;
    line.hidden = true;
    input.value = "";
    hint.textContent = texts.hint;
    say(text, wrong);
  }

  function start(file) {
    if (upload) model.send({ type: "cancel" });
    upload = { file, id: crypto.getRandomValues(new Uint32Array(2)).join("-"), sent: 0, received: 0 };
    bar.max = Math.max(1, file.size);
    bar.value = 0;
    bar.setAttribute("aria-label", fill(texts.progress, { name: file.name }));
    line.hidden = false;
    say("");
    model.send({ type: "begin", id: upload.id, name: file.name, size: file.size });
  }

  async function sendMore() {
    const mine = upload;
    while (mine && mine === upload && mine.sent < mine.file.size && mine.sent - mine.received < IN_FLIGHT * PIECE) {
      const offset = mine.sent;
      mine.sent = Math.min(offset + PIECE, mine.file.size);
      const piece = mine.file.slice(offset, mine.sent);
      try {
        const bytes = await piece.arrayBuffer();
        if (mine !== upload) return;
        model.send({ type: "piece", id: mine.id, offset }, undefined, [bytes]);
      } catch (error) {
        if (mine !== upload) return;
        model.send({ type: "cancel" });
        finish(String(error), true);
        return;
      }
    }
  }

  let sending = Promise.resolve();
  function onMessage(message) {
    if (!upload || message.id !== upload.id) return;
    if (message.type === "refused") { finish(message.message, true); return; }
    upload.received = message.received;
    bar.value = message.received;
    const values = { name: upload.file.name, done: readable(message.received), total: readable(upload.file.size) };
    if (message.received >= upload.file.size) { finish(fill(texts.done, values)); return; }
    hint.textContent = fill(texts.sending, values);
    sending = sending.then(sendMore);
  }

  function take(files) {
    if (files.length > 1) { say(texts.one, true); return; }
    if (files.length === 1) start(files[0]);
  }

  input.addEventListener("change", () => take(input.files));
  cancel.addEventListener("click", () => {
    model.send({ type: "cancel" });
    finish(texts.cancelled);
    label.querySelector("input").focus();
  });
  const over = (on) => (event) => { event.preventDefault(); event.stopPropagation(); zone.classList.toggle("arm-upload-over", on); };
  zone.addEventListener("dragenter", over(true));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => { over(false)(event); take(event.dataTransfer.files); });
  model.on("msg:custom", onMessage);
  return () => model.off("msg:custom", onMessage);
}

export default { render };
