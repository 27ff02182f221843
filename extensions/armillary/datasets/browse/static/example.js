// One example by itself, in a dialog: everything there is of it, and a way to the ones before and after.

/** @param {Place} place @param {(at: number) => any} rowAt @param {(at: number) => void} closed */
function exampleDialog(place, columns, rowAt, closed) {
  const { texts } = place;
  const dialog = make("dialog", "arm-look-example");
  const head = make("header");
  const title = make("h4");
  title.id = `arm-look-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  dialog.setAttribute("aria-labelledby", title.id);
  const button = (text, sign) => {
    const made = make("button", "", sign);
    made.type = "button";
    made.setAttribute("aria-label", text);
    made.title = text;
    return made;
  };
  const [before, after, close] = [button(texts.before, "‹"), button(texts.after, "›"), button(texts.close, "✕")];
  head.append(title, before, after, close);
  const body = make("dl", "arm-look-parts");
  dialog.append(head, body);
  let at = 0;

  function show(next) {
    const entry = rowAt(next);
    if (!entry) return;
    at = next;
    place.stop?.();
    const name = fill(texts.example, { n: (entry.row + 1).toLocaleString() });
    title.textContent = `${name} · ${texts[entry.split] ?? entry.split}`;
    body.replaceChildren(...columns().map(({ name: column }) => {
      const pair = make("div");
      const value = make("dd");
      value.append(cellOf(place, entry.cells[column], { row: entry.row, column, name: `${name}, ${column}`, large: true }));
      pair.append(make("dt", "", column), value);
      return pair;
    }));
    before.disabled = !rowAt(at - 1);
    after.disabled = !rowAt(at + 1);
  }

  before.addEventListener("click", () => show(at - 1));
  after.addEventListener("click", () => show(at + 1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { place.stop?.(); body.replaceChildren(); closed(at); });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    else if (event.key === "ArrowRight") show(at + 1);
    else if (event.key !== "Escape") { event.stopPropagation(); return; }
    event.stopPropagation(); // the notebook has its own use for these keys
    if (event.key !== "Escape") event.preventDefault();
  });
  return { dialog, open: (first) => { show(first); dialog.showModal(); close.focus(); } };
}
