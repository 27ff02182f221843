// One value of an example, small in a list or large by itself. Text comes into the page as text, never as HTML.
const COLOURS = 8;
const DECIMALS = { maximumFractionDigits: 1 };
/** Labels that mark nothing. */
const PLAIN = /^(o|other|none|-|_)$/i;

/** A number for each name, in the order of appearance, so that one class has one colour on a page. */
class Palette {
  constructor() { this.numbers = new Map(); }
  of(name) {
    if (!this.numbers.has(name)) this.numbers.set(name, this.numbers.size % COLOURS);
    return `arm-look-colour-${this.numbers.get(name)}`;
  }
}

/** What the cells of a page have in common. @typedef {{texts: any, media: Media, palette: Palette, stop: (() => void) | null}} Place */

/** @param {Place} place @param {any} cell @param {{row: number, column: string, name: string, large?: boolean}} of */
function cellOf(place, cell, of) {
  const kinds = { image: imageCell, audio: audioCell, video: videoCell, tokens: tokensCell, translation: translationCell };
  if (cell.kind === "missing") return make("span", "arm-look-missing", place.texts.missing_value);
  if (kinds[cell.kind]) return kinds[cell.kind](place, cell, of);
  const text = make("div", `arm-look-${cell.kind}`, cell.text);
  if (cell.kind === "text") text.dir = "auto";
  if (cell.cut) text.append(" ", make("small", "", fill(place.texts.cut, { n: cell.cut.toLocaleString() })));
  return text;
}

/** @param {HTMLElement} box where it will be @param {(item: any) => Node[]} show */
function fetched(place, box, of, show) {
  box.classList.add("arm-look-loading");
  place.media.seen(box, async () => {
    const item = await place.media.get(of.row, of.column, of.large ? "large" : "small");
    box.classList.remove("arm-look-loading");
    if (item.damaged === undefined) { box.replaceChildren(...show(item)); return; }
    const damaged = make("span", "arm-look-damaged", `⚠ ${place.texts.damaged}`);
    damaged.title = item.damaged;
    box.replaceChildren(damaged, ...(of.large ? [make("small", "", item.damaged)] : []));
  });
  return box;
}

function imageCell(place, cell, of) {
  const box = make("div", "arm-look-picture");
  return fetched(place, box, of, ({ urls, width, height }) => {
    const image = make("img");
    image.alt = of.name;
    image.src = urls[0];
    if (Math.max(width, height) <= 64) image.classList.add("arm-look-tiny");
    if (!cell.boxes) return [image];
    const shown = make("div", "arm-look-boxed");
    shown.append(image, boxesOver(place, cell.boxes, width, height));
    return [shown, ...boxLegend(place, cell, of.large)];
  });
}

function boxesOver(place, boxes, width, height) {
  const over = drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", preserveAspectRatio: "xMidYMid meet" });
  for (const [x, y, w, h, name] of boxes) {
    const rect = drawn("rect", { x, y, width: w, height: h, class: place.palette.of(name), "vector-effect": "non-scaling-stroke" });
    const title = drawn("title", {});
    title.textContent = name;
    rect.append(title);
    over.append(rect);
  }
  return over;
}

function boxLegend(place, { boxes, all_boxes: all }, large) {
  const counts = new Map();
  for (const [, , , , name] of boxes) counts.set(name, (counts.get(name) ?? 0) + 1);
  const legend = make("ul", "arm-look-legend");
  const entries = [...counts].sort((a, b) => b[1] - a[1]);
  for (const [name, count] of entries.slice(0, large ? 50 : 3)) {
    const entry = make("li");
    entry.append(make("span", `arm-look-key ${place.palette.of(name)}`), `${name} × ${count}`);
    legend.append(entry);
  }
  const note = all ? [make("small", "", fill(place.texts.some_boxes, { shown: boxes.length, n: all }))] : [];
  return [legend, ...note];
}

/** A waveform; what has been played is marked. */
function waveOf(peaks) {
  const wave = drawn("svg", { viewBox: `0 -50 ${Math.max(1, peaks.length) * 3} 100`, class: "arm-look-wave", "aria-hidden": "true", preserveAspectRatio: "none" });
  peaks.forEach((peak, at) => {
    const height = Math.max(2, 98 * Math.min(1, peak));
    wave.append(drawn("rect", { x: at * 3, y: -height / 2, width: 2, height }));
  });
  return wave;
}

function audioCell(place, _cell, of) {
  const box = make("div", "arm-look-audio");
  return fetched(place, box, { ...of, large: false }, ({ peaks, seconds }) => {
    const length = fill(place.texts.seconds, { n: seconds.toLocaleString(undefined, DECIMALS) });
    const play = make("button", "arm-look-play", "▶");
    play.type = "button";
    play.setAttribute("aria-label", `${place.texts.play}: ${of.name}, ${length}`);
    const wave = waveOf(peaks);
    const time = make("small", "arm-look-length", length);
    play.addEventListener("click", (event) => { event.stopPropagation(); playSound(place, play, wave, time, of, seconds); });
    return [play, wave, time];
  });
}

/** Play or pause; one sound at a time. */
async function playSound(place, play, wave, time, of, seconds) {
  if (play.sound && !play.sound.paused) { play.sound.pause(); return; }
  place.stop?.();
  if (!play.sound) {
    play.disabled = true;
    const item = await place.media.get(of.row, of.column, "large");
    play.disabled = false;
    if (item.damaged !== undefined) { time.textContent = `⚠ ${item.damaged}`; return; }
    play.sound = new Audio(item.urls[0]);
    if (seconds > item.clip_seconds) time.textContent += ` (${fill(place.texts.begins, { n: item.clip_seconds })})`;
    const show = () => {
      const playing = !play.sound.paused && !play.sound.ended;
      play.textContent = playing ? "⏸" : "▶";
      const label = play.getAttribute("aria-label").replace(/^[^:]*/, playing ? place.texts.pause : place.texts.play);
      play.setAttribute("aria-label", label);
      const bars = [...wave.children], played = play.sound.ended ? 0 : (play.sound.currentTime / seconds) * bars.length;
      bars.forEach((bar, at) => bar.classList.toggle("arm-look-played", at < played));
      if (playing) requestAnimationFrame(show);
    };
    for (const event of ["play", "pause", "ended"]) play.sound.addEventListener(event, show);
  }
  place.stop = () => play.sound.pause();
  play.sound.play();
}

function videoCell(place, _cell, of) {
  const box = make("div", "arm-look-video");
  return fetched(place, box, of, ({ urls, times, seconds }) => {
    const length = fill(place.texts.seconds, { n: seconds.toLocaleString(undefined, DECIMALS) });
    if (of.large) return framePlayer(place, urls, times, of);
    const strip = make("div", "arm-look-strip");
    strip.append(...urls.map((url, at) => {
      const frame = make("img");
      frame.src = url;
      frame.alt = at ? "" : `${of.name}, ${length}`;
      return frame;
    }));
    return [strip, make("small", "arm-look-length", length)];
  });
}

/** Frames from all over a video, walked with a slider or played in the video's own time. */
function framePlayer(place, urls, times, of) {
  const frame = make("img", "arm-look-frame");
  const controls = make("div", "arm-look-controls");
  const play = make("button", "arm-look-play", "▶");
  play.type = "button";
  play.setAttribute("aria-label", place.texts.play);
  const slider = make("input");
  Object.assign(slider, { type: "range", min: 0, max: urls.length - 1, step: 1, value: 0 });
  const where = make("small");
  let timer = 0;
  const show = (at) => {
    const said = fill(place.texts.frame, { n: times[at].toLocaleString(undefined, { maximumFractionDigits: 2 }) });
    slider.value = at;
    frame.src = urls[at];
    frame.alt = `${of.name}. ${said}`;
    where.textContent = said;
    slider.setAttribute("aria-label", said);
  };
  const stop = () => { clearTimeout(timer); timer = 0; play.textContent = "▶"; play.setAttribute("aria-label", place.texts.play); };
  const step = () => {
    const at = Number(slider.value);
    if (at + 1 >= urls.length || !frame.isConnected) { stop(); return; }
    timer = setTimeout(() => { show(at + 1); step(); }, Math.max(40, 1000 * (times[at + 1] - times[at])));
  };
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (Number(slider.value) + 1 >= urls.length) show(0);
    play.textContent = "⏸";
    play.setAttribute("aria-label", place.texts.pause);
    step();
  });
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  slider.addEventListener("keydown", (event) => event.stopPropagation()); // arrows move between frames here
  if (urls.length) show(0);
  controls.append(play, slider, where);
  return [frame, controls];
}

function tokensCell(place, { tokens, cut }) {
  const text = make("div", "arm-look-tokens");
  text.dir = "auto";
  for (const [word, label] of tokens) {
    if (label === null || PLAIN.test(label)) { text.append(word, " "); continue; }
    const mark = make("mark", place.palette.of(label.replace(/^[BIES]-/, "")), word);
    mark.append(make("small", "", label));
    text.append(mark, " ");
  }
  if (cut) text.append(make("small", "", fill(place.texts.cut_tokens, { n: cut.toLocaleString() })));
  return text;
}

function translationCell(place, { parts }) {
  const list = make("dl", "arm-look-translation");
  for (const [code, value] of parts) {
    const pair = make("div");
    const text = make("dd", "", value.text);
    [text.lang, text.dir] = [code, "auto"];
    if (value.cut) text.append(" ", make("small", "", fill(place.texts.cut, { n: value.cut })));
    pair.append(make("dt", "", code), text);
    list.append(pair);
  }
  return list;
}
