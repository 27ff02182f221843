// Pages of a dataset: filters, a grid of images or a table of all kinds, walked with the arrow keys.
const TYPING = 400; // ms without a key until a text is searched for

function render({ model, el }) {
  const texts = model.get("texts");
  const root = make("section", "arm-look");
  root.setAttribute("aria-label", texts.title);
  const place = { texts, media: new Media(model), palette: new Palette(), stop: null };
  const problem = make("p", "arm-look-problem");
  problem.setAttribute("role", "alert");
  const status = make("p", "arm-look-status");
  status.setAttribute("role", "status");
  const examples = make("div", "arm-look-examples");
  const chartsBox = make("div", "arm-look-charts");
  const charts = make("details", "arm-look-distributions");
  charts.append(make("summary", "", texts.distributions), chartsBox);
  const filters = filterForm();
  const pager = pagerNav();
  const one = exampleDialog(place, () => model.get("columns"), (at) => (model.get("page").rows ?? [])[at], (at) => focus(at));
  root.append(charts, filters.form, problem, status, examples, pager.nav, one.dialog);
  el.append(root);

  const send = (action, more = {}) => model.send({ action, dataset: model.get("dataset"), ...more });
  const entries = () => [...examples.querySelectorAll(".arm-look-open")];

  function filterForm() {
    const form = make("form", "arm-look-filters");
    form.setAttribute("role", "search");
    form.setAttribute("aria-label", texts.filters);
    const field = (text, control) => {
      const label = make("label", "", text);
      label.append(control);
      form.append(label);
      return control;
    };
    const split = field(texts.split, make("select"));
    const kind = field(texts.class, make("select"));
    const missing = field(texts.missing, make("select"));
    const text = field(texts.text, make("input"));
    text.type = "search";
    const clear = make("button", "", texts.clear);
    clear.type = "button";
    form.append(clear);
    let timer = 0;
    const apply = () => {
      clearTimeout(timer);
      send("filter", { filters: { split: split.value, class_name: kind.value, missing: missing.value, text: text.value.trim() } });
    };
    for (const control of [split, kind, missing]) control.addEventListener("change", apply);
    text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, TYPING); });
    form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
    form.addEventListener("keydown", (event) => event.stopPropagation());
    clear.addEventListener("click", () => { [split.value, kind.value, missing.value, text.value] = ["", "", "", ""]; apply(); text.focus(); }); // the button goes
    return { form, split, kind, missing, text, clear };
  }

  function pagerNav() {
    const nav = make("nav", "arm-look-pager");
    nav.setAttribute("aria-label", texts.page);
    const button = (sign, text, step) => {
      const made = make("button", "", sign);
      made.type = "button";
      made.setAttribute("aria-label", text);
      made.title = text;
      made.addEventListener("click", () => turn(step));
      return made;
    };
    const label = make("label", "", texts.page + " ");
    const number = make("input");
    Object.assign(number, { type: "number", min: 1, step: 1 });
    label.append(number);
    const of = make("span");
    const previous = button("‹", texts.previous, -1), next = button("›", texts.next, 1);
    nav.append(previous, label, of, next);
    number.addEventListener("change", () => { const wanted = Number(number.value) - 1; if (Number.isInteger(wanted) && wanted >= 0) send("turn", { page: wanted }); });
    nav.addEventListener("keydown", (event) => event.stopPropagation());
    return { nav, previous, next, number, of };
  }

  function options(select, values, chosen) {
    select.replaceChildren(...values.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }));
    select.value = chosen ?? "";
  }

  function drawFilters() {
    const { splits = [], classes = [], missing = [] } = model.get("choices");
    const chosen = model.get("filters");
    options(filters.split, [["", texts.all], ...splits.map(([name, n]) => [name, `${texts[name] ?? name} (${n.toLocaleString()})`])], chosen.split);
    options(filters.kind, [["", texts.all], ...classes.map((name) => [name, name])], chosen.class_name);
    options(filters.missing, [["", texts.nowhere], ...missing.map((name) => [name, name === "*" ? texts.any : name])], chosen.missing);
    if (root.ownerDocument.activeElement !== filters.text) filters.text.value = chosen.text ?? "";
    filters.kind.parentElement.hidden = !classes.length;
    filters.clear.hidden = !["split", "class_name", "missing", "text"].some((name) => chosen[name]);
  }

  /** Images with at most a class beside them go into a grid, everything else into a table. */
  const isGrid = (columns) => columns.filter(({ kind }) => kind === "image").length === 1 && columns.every(({ kind }) => kind === "image" || kind === "class");

  function opener(entry, at, content) {
    const open = make("button", "arm-look-open");
    open.type = "button";
    open.tabIndex = at === 0 ? 0 : -1;
    open.append(...content);
    open.addEventListener("click", () => one.open(at));
    return open;
  }

  function gridItem(columns, entry, at) {
    const image = columns.find(({ kind }) => kind === "image").name;
    const classes = columns.filter(({ kind }) => kind === "class").map(({ name }) => entry.cells[name].text ?? texts.missing_value);
    const name = [fill(texts.example, { n: entry.row + 1 }), ...classes].join(": ");
    const caption = make("span", "arm-look-caption", classes.join(", ") || String(entry.row + 1));
    const open = opener(entry, at, [cellOf(place, entry.cells[image], { row: entry.row, column: image, name: "" }), caption]);
    open.setAttribute("aria-label", name);
    const item = make("li");
    item.append(open);
    return item;
  }

  function tableRow(columns, entry, at) {
    const line = make("tr");
    const head = make("th");
    head.scope = "row";
    const open = opener(entry, at, [document.createTextNode((entry.row + 1).toLocaleString())]);
    open.setAttribute("aria-label", fill(texts.example, { n: entry.row + 1 }));
    head.append(open);
    line.append(head);
    for (const { name, kind } of columns) {
      const box = make("td", `arm-look-is-${kind}`);
      box.dataset.column = name;
      box.append(cellOf(place, entry.cells[name], { row: entry.row, column: name, name: `${fill(texts.example, { n: entry.row + 1 })}, ${name}` }));
      line.append(box);
    }
    const split = make("td", "arm-look-is-split", texts[entry.split] ?? entry.split);
    split.dataset.column = texts.split;
    line.append(split);
    return line;
  }

  function emptyTable(columns) {
    const table = make("table");
    const head = make("thead"), line = make("tr");
    for (const name of [texts.row, ...columns.map((column) => column.name), texts.split]) {
      const cell = make("th", "", name);
      cell.scope = "col";
      line.append(cell);
    }
    head.append(line);
    const caption = make("caption", "arm-look-hidden", `${texts.title}: ${model.get("dataset")}`);
    const body = make("tbody");
    table.append(caption, head, body);
    return [table, body];
  }

  let shown = "", list = null, count = 0, walking = false;

  function drawPage() {
    const page = model.get("page"), columns = model.get("columns");
    root.hidden = !model.get("dataset");
    if (!page.rows) return;
    const key = JSON.stringify([model.get("dataset"), model.get("filters"), page.number]);
    if (key !== shown || page.rows.length < count) {
      [shown, count] = [key, 0];
      walking = examples.contains(root.ownerDocument.activeElement); // who turns pages by keys goes on by keys
      place.stop?.();
      place.media.clear();
      const grid = isGrid(columns);
      examples.className = `arm-look-examples ${grid ? "arm-look-as-grid" : "arm-look-as-table"}`;
      examples.classList.toggle("arm-look-with-boxes", page.rows.some(({ cells }) => Object.values(cells).some(({ boxes }) => boxes)));
      if (grid) {
        list = make("ul", "arm-look-grid");
        list.setAttribute("aria-label", texts.title);
        examples.replaceChildren(list);
      } else {
        const [table, body] = emptyTable(columns);
        list = body;
        examples.replaceChildren(table);
      }
      examples.scrollTop = 0;
    }
    const item = list.tagName === "UL" ? gridItem : tableRow;
    list.append(...page.rows.slice(count).map((entry, at) => item(columns, entry, count + at)));
    count = page.rows.length;
    examples.hidden = count === 0;
    drawPager(page);
    if (walking && count) {
      walking = false;
      if (root.ownerDocument.activeElement === root.ownerDocument.body) focus(0);
    }
    if (page.searched < 1 && page.rows.length < page.size && page.total === null) send("turn", { page: page.number });
  }

  function drawPager(page) {
    const first = page.number * page.size + 1, last = first + page.rows.length - 1;
    const numbers = { first: first.toLocaleString(), last: last.toLocaleString(), n: page.rows.length.toLocaleString(), percent: Math.floor(100 * page.searched) };
    const searching = page.total === null && page.rows.length < page.size;
    status.textContent = searching ? fill(texts.searching, numbers)
      : !page.rows.length ? texts.none
      : page.total === null ? fill(texts.found, numbers)
      : fill(texts.shown, { ...numbers, total: page.total.toLocaleString() });
    status.setAttribute("aria-busy", String(searching)); // said once, when it has ended
    pager.previous.disabled = page.number <= 0;
    pager.next.disabled = !page.more;
    pager.number.value = page.number + 1;
    pager.number.max = page.pages ?? "";
    pager.of.textContent = page.pages === null ? "" : fill(texts.pages, { pages: page.pages.toLocaleString() });
    pager.nav.hidden = page.number === 0 && !page.more;
  }

  function turn(step) {
    const page = model.get("page");
    if (step > 0 ? page.more : page.number > 0) send("turn", { page: page.number + step });
  }

  function focus(at) {
    const all = entries();
    const target = all[Math.max(0, Math.min(all.length - 1, at))];
    if (!target) return;
    all.forEach((entry) => { entry.tabIndex = -1; });
    target.tabIndex = 0;
    target.focus();
  }

  function perRow(all) {
    const tops = all.map((entry) => Math.round(entry.getBoundingClientRect().top));
    const end = tops.findIndex((top) => top !== tops[0]);
    return end < 0 ? tops.length : end;
  }

  examples.addEventListener("keydown", (event) => {
    const all = entries(), at = all.indexOf(root.ownerDocument.activeElement);
    if (at < 0) return;
    const line = perRow(all);
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - line, ArrowDown: at + line, Home: 0, End: all.length - 1 };
    if (event.key in moves) focus(moves[event.key]);
    else if (event.key === "PageDown") turn(1);
    else if (event.key === "PageUp") turn(-1);
    else { if (event.key === "Enter" || event.key === " ") event.stopPropagation(); return; }
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for these keys
  });

  charts.addEventListener("toggle", () => { if (charts.open && !model.get("charts")) { chartsBox.textContent = texts.loading; send("charts"); } });
  const drawCharts = () => { chartsBox.innerHTML = model.get("charts"); if (!model.get("charts")) charts.open = false; };
  const drawProblem = () => { problem.textContent = model.get("problem"); };
  let waiting = 0;
  const redraw = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => { drawFilters(); drawPage(); }); };
  model.on("change:page change:dataset change:columns change:choices change:filters", redraw);
  model.on("change:charts", drawCharts);
  model.on("change:problem", drawProblem);
  drawFilters();
  drawPage();
  drawCharts();
  drawProblem();
  return () => {
    place.stop?.();
    place.media.end();
    model.off("change:page change:dataset change:columns change:choices change:filters", redraw);
    model.off("change:charts", drawCharts);
    model.off("change:problem", drawProblem);
  };
}

export default { render };
