// Spans of a text, marked by mouse, finger or keys. Part of labeller.js.

/** The view of spans: places count characters (code points) of a text, or its tokens. */
function spansView(ctx) {
  let symbols = [], words = [], spans = [], area = null;
  let from = 0, to = 0, touched = null;

  const byToken = () => ctx.unit === "token";
  const between = (start, end) => symbols.slice(start, end).join(byToken() ? " " : "");

  /** The words of a text, as places: those of its language where the browser knows them (Chinese has no spaces). */
  function wordsOf(text) {
    if (byToken()) return symbols.map((_, index) => [index, index + 1]);
    const segments = [...new Intl.Segmenter(document.documentElement.lang || undefined, { granularity: "word" }).segment(text)];
    let place = 0;
    return segments.flatMap(({ segment, isWordLike }) => {
      const start = place;
      place += Array.from(segment).length;
      return isWordLike ? [[start, place]] : [];
    });
  }

  function draw() {
    const cuts = new Set([0, symbols.length, from, to]);
    words.forEach(([start, end]) => cuts.add(start).add(end));
    spans.forEach(({ start, end }) => cuts.add(start).add(end));
    const places = [...cuts].sort((a, b) => a - b);
    area.replaceChildren();
    let mark = null, marked = -1;
    for (let index = 0; index + 1 < places.length; index += 1) {
      const [start, end] = [places[index], places[index + 1]];
      const at = spans.findIndex((span) => span.start <= start && end <= span.end);
      if (at !== marked) {
        mark = at >= 0 ? markOf(spans[at]) : null;
        if (byToken() && index) area.append(" ");
        if (mark) area.append(mark);
      } else if (byToken() && index) (mark ?? area).append(" ");
      marked = at;
      const piece = document.createElement("span");
      Object.assign(piece.dataset, { start, end });
      if (from <= start && end <= to && from < to) piece.className = "arm-label-chosen";
      piece.textContent = between(start, end);
      (mark ?? area).append(piece);
    }
    ctx.marks();
  }

  function markOf({ label }) {
    const mark = document.createElement("mark");
    mark.dataset.label = label;
    mark.style.setProperty("--colour", colour(ctx.labels.indexOf(label)));
    return mark;
  }

  function select(start, end, quiet = false) {
    [from, to] = [Math.max(0, start), Math.min(symbols.length, end)];
    touched = null;
    draw();
    if (quiet || from >= to) return;
    const over = spans.filter((span) => span.start < to && from < span.end).map(({ label }) => label);
    ctx.say(fill(ctx.texts.selected, { text: between(from, to) }) + (over.length ? ` (${over.join(", ")})` : ""));
    area.querySelector(".arm-label-chosen")?.scrollIntoView({ block: "nearest" });
  }

  /** The part of a piece of the text that a range covers, as places in the text; null for nothing. */
  function covered(piece, range) {
    const part = document.createRange(), before = document.createRange();
    part.selectNodeContents(piece);
    if (part.compareBoundaryPoints(Range.START_TO_START, range) < 0) part.setStart(range.startContainer, range.startOffset);
    if (part.compareBoundaryPoints(Range.END_TO_END, range) > 0) part.setEnd(range.endContainer, range.endOffset);
    const text = part.toString();
    if (!text) return null;
    if (byToken()) return [+piece.dataset.start, +piece.dataset.end];
    before.selectNodeContents(piece);
    before.setEnd(part.startContainer, part.startOffset);
    const start = +piece.dataset.start + Array.from(before.toString()).length;
    return [start, start + Array.from(text).length];
  }

  /** What is selected on the page, as places in the text; null for nothing. */
  function pageSelection() {
    const selection = document.getSelection();
    if (!selection?.rangeCount || selection.isCollapsed) return null;
    const range = selection.getRangeAt(0);
    const pieces = [...area.querySelectorAll("[data-start]")].filter((piece) => range.intersectsNode(piece));
    const parts = pieces.map((piece) => covered(piece, range)).filter(Boolean);
    return parts.length ? [parts[0][0], parts[parts.length - 1][1]] : null;
  }

  function released(event) {
    if (event.pointerType === "touch") return; // the finger's selection has handles of its own, which must stay
    const found = pageSelection();
    if (found) {
      document.getSelection().removeAllRanges();
      select(...found);
    } else {
      const piece = event.target.closest?.("[data-start]");
      const at = piece ? spans.find((span) => span.start <= +piece.dataset.start && +piece.dataset.start < span.end) : null;
      if (at) select(at.start, at.end);
      else if (piece) select(+piece.dataset.start, +piece.dataset.end);
    }
    ctx.stage.focus({ preventScroll: true });
    if (found && ctx.labels.length === 1) label(ctx.labels[0]);
  }

  function noticed() {
    if (area?.isConnected) touched = pageSelection() ?? touched;
  }

  function label(name) {
    if (touched) {
      [from, to] = touched;
      touched = null;
      document.getSelection().removeAllRanges();
    }
    if (from >= to) { ctx.say(ctx.texts.select_first); return; }
    spans = [...spans.filter((span) => span.end <= from || to <= span.start), { label: name, start: from, end: to }];
    commit();
    ctx.say(fill(ctx.texts.marked, { text: between(from, to), label: name }));
  }

  function remove() {
    const gone = spans.filter((span) => span.start < to && from < span.end);
    if (!gone.length) return;
    spans = spans.filter((span) => !gone.includes(span));
    commit();
    ctx.say(fill(ctx.texts.unmarked, { text: gone.map(({ start, end }) => between(start, end)).join(", ") }));
  }

  function commit() {
    spans.sort((a, b) => a.start - b.start);
    draw();
    ctx.answer(spans.map((span) => ({ ...span })), false);
  }

  function step(forward) {
    const after = words.findIndex(([start]) => start >= (from < to ? to : from));
    const before = words.findLastIndex(([, end]) => end <= from);
    const found = forward ? (from >= to && after < 0 ? words.length - 1 : after) : before;
    if (words[found]) select(...words[found]);
  }

  function extend(forward, byCharacter) {
    if (from >= to) { step(forward); return; }
    if (byCharacter && !byToken()) { select(from, Math.max(from + 1, to + (forward ? 1 : -1))); return; }
    const ends = words.map(([, end]) => end).filter((end) => (forward ? end > to : end < to && end > from));
    if (ends.length) select(from, forward ? ends[0] : ends[ends.length - 1]);
  }

  document.addEventListener("selectionchange", noticed);
  return {
    help: [["← →", ctx.texts.key_word], ["Shift ← →", ctx.texts.key_extend], ["class", ctx.texts.key_span_class],
      ["Delete", ctx.texts.key_delete_span], ["Esc", ctx.texts.key_escape], ["↑ ↓", ctx.texts.key_updown]],
    tools: [["delete", remove, "Del"]],
    show(item, stage) {
      const text = item.text ?? "";
      symbols = byToken() ? item.tokens : Array.from(text);
      words = wordsOf(text);
      spans = (item.answer ?? []).map((span) => ({ ...span }));
      [from, to, touched] = [0, 0, null];
      area = document.createElement("p");
      area.className = "arm-label-text";
      area.addEventListener("pointerup", released);
      stage.append(area);
      draw();
    },
    pressed: (_item, name) => from < to && spans.some((span) => span.label === name && span.start < to && from < span.end),
    choose: label,
    accept() { ctx.answer(spans.map((span) => ({ ...span })), true); },
    describe: (answer) => (answer?.length ? answer.map(({ label: name, start, end }) => `${name}: ${between(start, end)}`).join("; ") : ctx.texts.no_parts),
    key(event) {
      const forward = event.key === "ArrowRight";
      if (forward || event.key === "ArrowLeft") { if (event.shiftKey) extend(forward, event.altKey); else step(forward); }
      else if (event.key === "Delete" || event.key === "Backspace") remove();
      else if (event.key === "Escape" && from < to) select(0, 0, true);
      else return false;
      return true;
    },
    close() { document.removeEventListener("selectionchange", noticed); },
  };
}
