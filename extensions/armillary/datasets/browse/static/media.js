// Images, sounds and videos of a page: asked for when they can be seen, a few at a time, and kept while they are shown.
const AT_A_TIME = 16;

/** @param {string} text @param {Record<string, any>} values */
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));

/** @param {string} tag @param {string} className @param {string} [text] */
function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** @param {string} tag @param {Record<string, any>} attributes */
function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

class Media {
  /** @param {any} model the widget's */
  constructor(model) {
    this.model = model;
    this.waiting = new Map(); // key → [resolve]
    this.queue = [];
    this.known = new Map(); // key → Promise
    this.urls = [];
    this.asked = 0;
    this.whenSeen = new WeakMap();
    this.observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        this.observer.unobserve(target);
        this.whenSeen.get(target)?.();
      }
    }, { rootMargin: "200px" });
    this.onMessage = (message, buffers) => { if (message.type === "media") this.arrived(message, buffers); };
    model.on("msg:custom", this.onMessage);
  }

  /** Call once an element can be seen. @param {Element} element @param {() => void} act */
  seen(element, act) {
    this.whenSeen.set(element, act);
    this.observer.observe(element);
  }

  /** @param {number} row @param {string} column @param {"small" | "large"} form */
  get(row, column, form) {
    const key = JSON.stringify([row, column, form]);
    if (!this.known.has(key)) {
      this.known.set(key, new Promise((resolve) => this.waiting.set(key, resolve)));
      this.queue.push([row, column, form]);
      queueMicrotask(() => this.ask());
    }
    return this.known.get(key);
  }

  /** Two questions at most are on their way, so that what is asked for last need not wait for a whole page. */
  ask() {
    while (this.queue.length && this.asked < 2) {
      // What was asked for last is where the person is now; one example by itself comes before all.
      this.queue.sort((a, b) => (b[2] === "large") - (a[2] === "large"));
      this.asked += 1;
      this.model.send({ action: "media", dataset: this.model.get("dataset"), wanted: this.queue.splice(0, AT_A_TIME) });
    }
  }

  arrived({ dataset, items }, buffers) {
    this.asked = Math.max(0, this.asked - 1);
    let next = 0;
    for (const item of items) {
      const own = buffers.slice(next, (next += item.buffers));
      const key = JSON.stringify([item.row, item.column, item.form]);
      if (dataset === this.model.get("dataset")) this.waiting.get(key)?.({ ...item, urls: own.map((view) => this.url(view)) });
      this.waiting.delete(key);
    }
    this.ask();
  }

  /** @param {DataView} view */
  url(view) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const types = { 0x89: "image/png", 0xff: "image/jpeg", 0x52: "audio/wav" };
    const url = URL.createObjectURL(new Blob([bytes], { type: types[bytes[0]] ?? "application/octet-stream" }));
    this.urls.push(url);
    return url;
  }

  /** Forget what was shown, and what is still to come. */
  clear() {
    this.urls.forEach(URL.revokeObjectURL);
    this.observer.disconnect();
    [this.urls, this.queue, this.asked] = [[], [], 0];
    this.known.clear();
    this.waiting.clear();
  }

  end() {
    this.clear();
    this.model.off("msg:custom", this.onMessage);
  }
}
