// A field to drop files and folders on; sends them in pieces and waits for each to be acknowledged.
const PIECE = 1 << 20;
const IN_FLIGHT = 8;
/** Without an answer for so long, in ms, it asks where it was; the pause doubles up to the longest. */
const PATIENCE = 3000, LONGEST = 10000;

/** @param {string} text @param {Record<string, any>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));

/** @param {number} bytes */
function readable(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
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

/** A button that opens the browser's own choice of files. */
function picker(text, folder, accept) {
  const label = make("label", "arm-upload-choose", text);
  const input = /** @type {HTMLInputElement} */ (make("input", "arm-upload-input"));
  input.type = "file";
  input.webkitdirectory = folder;
  input.multiple = !folder;
  if (accept) input.accept = accept;
  label.append(input);
  return [label, input];
}

function render({ model, el }) {
  const texts = model.get("texts");
  const zone = make("div", "arm-upload");
  const prompt = make("p", "arm-upload-prompt", texts.drop + " ");
  const [fileLabel, fileInput] = picker(texts.choose, false, "");
  const [folderLabel, folderInput] = picker(texts.folder, true, "");
  prompt.append(fileLabel, " ", folderLabel);
  const hint = make("p", "arm-upload-hint", texts.hint);
  const bar = /** @type {HTMLProgressElement} */ (make("progress", "arm-upload-bar"));
  const cancel = /** @type {HTMLButtonElement} */ (make("button", "arm-upload-cancel", texts.cancel));
  cancel.type = "button";
  const line = make("div", "arm-upload-line");
  line.append(bar, cancel);
  line.hidden = true;
  const pace = make("p", "arm-upload-hint");
  const status = make("p", "arm-upload-status");
  status.setAttribute("role", "status");
  const note = make("p", "arm-upload-hint");
  zone.append(prompt, hint, line, pace, status, note);
  el.append(zone);

  /**
   * Answers and pieces of an earlier round than the present one are of no account any more; `heard` is the last round
   * that was answered. Pieces are sent up to `sent` and acknowledged up to `received`.
   */
  let upload = null;
  let preparing = false, timer = 0;

  function say(text, wrong = false) {
    status.textContent = text;
    status.classList.toggle("arm-upload-wrong", wrong);
  }

  function finish(text, wrong = false) {
    upload = null;
    clearTimeout(timer);
    line.hidden = true;
    fileInput.value = folderInput.value = "";
    pace.textContent = "";
    say(text, wrong);
  }

  function left(seconds) {
    return seconds < 90 ? fill(texts.seconds, { n: Math.ceil(seconds) }) : fill(texts.minutes, { n: Math.ceil(seconds / 60) });
  }

  function showPace() {
    const { source, received, began, from } = upload;
    const seconds = (performance.now() - began) / 1000, speed = (received - from) / Math.max(seconds, 0.001);
    bar.value = received;
    const values = { name: source.title, done: readable(received), total: readable(source.size) };
    pace.textContent = received > from
      ? fill(texts.sending, { ...values, speed: readable(speed), left: left((source.size - received) / speed) }) : "";
  }

  /** Send to the kernel; what a lost connection swallows is asked for again. */
  function send(type, more = {}, buffers = []) {
    try {
      model.send({ type, id: upload.id, round: upload.round, ...more }, undefined, buffers);
    } catch (error) {
      console.warn("upload: the kernel cannot be reached", error);
    }
  }

  /** Ask where we were when nothing has been heard for a while. */
  function watch() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (!upload) return;
      const { source, received } = upload;
      pace.textContent = fill(texts.waiting, { name: source.title, done: readable(received), total: readable(source.size) });
      upload.wait = Math.min(2 * upload.wait, LONGEST);
      upload.round += 1;
      upload.started ? send("continue") : begin();
      watch();
    }, upload.wait);
  }

  function begin() {
    const { source } = upload;
    send("begin", { name: source.name, size: source.size, modified: source.modified });
  }

  function start(source) {
    const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    upload = { source, id, round: 0, heard: -1, started: false, sent: 0, received: 0, checking: false, wait: PATIENCE, began: 0, from: 0 };
    bar.max = Math.max(1, source.size);
    bar.value = 0;
    bar.setAttribute("aria-label", fill(texts.progress, { name: source.title }));
    line.hidden = false;
    say("");
    begin();
    watch();
  }

  /** Read a piece of the source, or end the upload in words. */
  async function read(mine, from, to) {
    try {
      const bytes = await mine.source.read(from, to);
      return mine === upload ? bytes : null;
    } catch {
      if (mine === upload) {
        send("cancel");
        finish(fill(texts.changed, { name: mine.source.title }), true);
      }
      return null;
    }
  }

  async function sendMore() {
    const mine = upload;
    while (mine && mine === upload && mine.heard === mine.round && mine.sent < mine.source.size && mine.sent - mine.received < IN_FLIGHT * PIECE) {
      const offset = mine.sent, round = mine.round;
      const bytes = await read(mine, offset, Math.min(offset + PIECE, mine.source.size));
      if (!bytes) return;
      if (mine.round !== round || mine.sent !== offset) continue;  // it goes on from elsewhere meanwhile
      mine.sent = offset + bytes.byteLength;
      send("piece", { offset }, [bytes]);
    }
  }

  /** Compare what the kernel has with the file's beginning. */
  async function compare(mine, received, check) {
    mine.checking = true;
    clearTimeout(timer);
    let crc = 0;
    for (let offset = 0; offset < received; offset += 4 * PIECE) {
      const bytes = await read(mine, offset, Math.min(offset + 4 * PIECE, received));
      if (!bytes) return;
      crc = crc32(new Uint8Array(bytes), crc);
      pace.textContent = fill(texts.checking, { name: mine.source.title, percent: Math.floor((100 * offset) / received) });
    }
    mine.checking = false;
    mine.round += 1;
    send(crc === check ? "continue" : "again");
    watch();
  }

  /** Go on from where the kernel is. */
  function goOn(received) {
    upload.received = received;
    if (upload.heard !== upload.round) {  // begun, or asked where it was
      Object.assign(upload, { heard: upload.round, sent: received, from: received, began: performance.now() });
    }
    upload.wait = PATIENCE;
    showPace();
    watch();
  }

  let sending = Promise.resolve();
  function onMessage(message) {
    if (!upload || message.id !== upload.id) return;
    if (message.type === "refused") { finish(message.message, true); return; }
    if (message.type === "unknown") { upload.round += 1; begin(); return; }
    if (message.round !== upload.round || upload.checking) return;
    if (message.type === "done") {
      finish(fill(texts.done, { name: upload.source.title, total: readable(upload.source.size) }));
      return;
    }
    upload.started = true;
    if (message.type === "gap") { upload.round += 1; send("continue"); return; }
    if (message.check !== undefined) { compare(upload, message.received, message.check); return; }
    if (message.type === "begun" && !upload.source.size) { send("continue"); return; }  // whole at once
    goOn(message.received);
    sending = sending.then(sendMore);
  }

  /** @param {{path: string, file: File}[]} entries as they were found */
  function take(entries) {
    const files = entries.filter((entry) => !hidden(entry));
    const ends = (name, suffixes) => suffixes.some((suffix) => name.toLowerCase().endsWith(suffix));
    if (files.length === 1 && !files[0].path.includes("/")) { start(new Single(files[0].file)); return; }
    const usable = files.filter(({ path }) => ends(path, model.get("members")));
    const others = files.filter((entry) => !usable.includes(entry));
    if (others.length) note.textContent = fill(texts.left_out, { n: others.length, name: others[0].path.split("/").at(-1) });
    if (!usable.length) { say(texts.none, true); return; }
    const paths = new Set();
    for (const { path } of usable) {
      if (paths.has(path)) { say(fill(texts.twice, { name: path }), true); return; }
      paths.add(path);
    }
    const tops = new Set(usable.map(({ path }) => path.split("/")[0]));
    start(new Tar(usable, tops.size === 1 ? [...tops][0] : "files"));
  }

  /** @param {AsyncIterable<{path: string, file: File}>} found @param {string} name */
  async function gather(found, name) {
    if (upload || preparing) { note.textContent = fill(texts.busy, { name: upload?.source.title ?? name }); return; }
    preparing = true;
    note.textContent = "";
    say("");
    try {
      const entries = [];
      for await (const entry of found) {
        entries.push(entry);
        if (entries.length % 500 === 0) pace.textContent = fill(texts.listing, { name, n: entries.length });
      }
      pace.textContent = "";
      if (entries.length) take(entries); else say(texts.none, true);
    } catch {
      say(fill(texts.changed, { name }), true);
    } finally {
      preparing = false;
    }
  }

  async function* chosen(files) {
    for (const file of files) yield { path: file.webkitRelativePath || file.name, file };
  }

  async function* dropped(entries) {
    for (const entry of entries) yield* below(entry);
  }

  for (const input of [fileInput, folderInput]) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      if (files.length) gather(chosen(files), files[0].name);
    });
  }
  cancel.addEventListener("click", () => {
    send("cancel");
    finish(texts.cancelled);
    fileInput.focus();
  });
  const over = (on) => (event) => { event.preventDefault(); event.stopPropagation(); zone.classList.toggle("arm-upload-over", on); };
  zone.addEventListener("dragenter", over(true));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    // Both have to be asked for before the handler ends; entries know folders.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    if (entries.length) gather(dropped(entries), entries[0].name);
    else if (files.length) gather(chosen(files), files[0].name);
  });
  model.on("msg:custom", onMessage);
  return () => { clearTimeout(timer); upload = null; model.off("msg:custom", onMessage); };
}

export default { render };
