// Boxes, drawn, moved and resized by mouse, finger or keys. Part of labeller.js.
const SVG = "http://www.w3.org/2000/svg";
// The corners and edges by which a box is resized: which sides move.
const HANDLES = [[-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0]];
const CURSORS = ["nwse", "ns", "nesw", "ew", "nwse", "ns", "nesw", "ew"];

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** The view of boxes in a picture. */
function boxesView(ctx) {
  let picture = null, board = null, list = null, medium = null;
  let boxes = [], selected = -1, current = 0, gesture = null, dirty = false;

  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const rounded = (side) => (Math.max(medium.width, medium.height) >= 100 ? Math.round(side) : Math.round(side * 10) / 10);
  const least = () => (Math.max(medium.width, medium.height) >= 100 ? 1 : 0.1);
  const scale = () => medium.width / Math.max(1, board.getBoundingClientRect().width); // picture pixels per CSS pixel

  function point(event) {
    const frame = board.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * medium.width;
    const y = ((event.clientY - frame.top) / frame.height) * medium.height;
    return [clamp(x, 0, medium.width), clamp(y, 0, medium.height)];
  }

  function inside([x, y, width, height]) {
    const [w, h] = [clamp(rounded(width), least(), medium.width), clamp(rounded(height), least(), medium.height)];
    return [clamp(rounded(x), 0, medium.width - w), clamp(rounded(y), 0, medium.height - h), w, h];
  }

  const told = (index) => {
    const [x, y, width, height] = boxes[index].box;
    return fill(ctx.texts.box, { n: index + 1, label: boxes[index].label, x, y, width, height });
  };

  function draw() {
    const unit = scale();
    board.replaceChildren();
    boxes.forEach(({ label, box: [x, y, width, height] }, index) => {
      const group = svg("g", { class: index === selected ? "arm-label-box arm-label-chosen" : "arm-label-box" });
      group.style.setProperty("--colour", colour(ctx.labels.indexOf(label)));
      const text = svg("text", { x: x + 3 * unit, y: y > 16 * unit ? y - 4 * unit : y + 14 * unit, "font-size": 13 * unit });
      text.textContent = label;
      group.append(svg("rect", { x, y, width, height, "data-box": index }), text);
      if (index === selected) {
        HANDLES.forEach(([across, down], handle) => group.append(svg("circle", {
          cx: x + ((across + 1) / 2) * width, cy: y + ((down + 1) / 2) * height, r: 6 * unit, "data-box": index,
          "data-handle": handle, style: `cursor: ${CURSORS[handle]}-resize`,
        })));
      }
      board.append(group);
    });
    list.replaceChildren(...boxes.map((_, index) => listed(index)));
    ctx.marks();
  }

  function listed(index) {
    const entry = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = told(index);
    button.setAttribute("aria-pressed", String(index === selected));
    button.addEventListener("click", () => { select(index); ctx.stage.focus(); });
    entry.append(button);
    return entry;
  }

  function select(index) {
    selected = index;
    if (index >= 0) ctx.say(told(index));
    draw();
  }

  function commit() {
    dirty = false;
    ctx.answer(boxes.map(({ label, box }) => ({ label, box })), false);
    if (selected >= 0) ctx.say(told(selected));
  }

  function begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    ctx.stage.focus({ preventScroll: true });
    const at = point(event), { box, handle } = event.target.dataset;
    board.setPointerCapture(event.pointerId);
    if (handle !== undefined) gesture = { kind: "resize", at, handle: HANDLES[+handle], from: [...boxes[+box].box] };
    else if (box !== undefined && !event.shiftKey) {
      select(+box);
      gesture = { kind: "move", at, from: [...boxes[+box].box] };
    } else {
      if (selected >= 0) select(-1);
      gesture = { kind: "draw", at };
    }
  }

  function follow(event) {
    if (!gesture) return;
    const [x, y] = point(event), [x0, y0] = gesture.at;
    if (gesture.kind === "draw") {
      if (!gesture.begun && Math.max(Math.abs(x - x0), Math.abs(y - y0)) < 4 * scale()) return;
      if (!gesture.begun) {
        boxes.push({ label: ctx.labels[current], box: [x0, y0, 0, 0] });
        selected = boxes.length - 1;
        gesture.begun = true;
      }
      boxes[selected].box = inside([Math.min(x, x0), Math.min(y, y0), Math.abs(x - x0), Math.abs(y - y0)]);
    } else if (gesture.kind === "move") {
      boxes[selected].box = inside([gesture.from[0] + x - x0, gesture.from[1] + y - y0, gesture.from[2], gesture.from[3]]);
    } else boxes[selected].box = resized(gesture.from, gesture.handle, x - x0, y - y0);
    gesture.moved = true;
    draw();
  }

  function resized([x, y, width, height], [across, down], dx, dy) {
    const left = across < 0 ? x + dx : x, right = across > 0 ? x + width + dx : x + width;
    const top = down < 0 ? y + dy : y, bottom = down > 0 ? y + height + dy : y + height;
    const [l, r] = [clamp(Math.min(left, right), 0, medium.width), clamp(Math.max(left, right), 0, medium.width)];
    const [t, b] = [clamp(Math.min(top, bottom), 0, medium.height), clamp(Math.max(top, bottom), 0, medium.height)];
    return inside([l, t, r - l, b - t]);
  }

  function end() {
    const moved = gesture?.moved;
    gesture = null;
    if (moved) commit();
  }

  function add() {
    const [w, h] = [medium.width / 4, medium.height / 4];
    boxes.push({ label: ctx.labels[current], box: inside([(medium.width - w) / 2, (medium.height - h) / 2, w, h]) });
    selected = boxes.length - 1;
    draw();
    commit();
  }

  function remove() {
    if (selected < 0) return;
    boxes.splice(selected, 1);
    selected = -1;
    draw();
    commit();
    ctx.say(ctx.texts.box_gone);
  }

  function nudge(event) {
    const step = Math.max(least(), rounded(Math.max(medium.width, medium.height) / (event.shiftKey ? 100 : 200)));
    const dx = { ArrowLeft: -step, ArrowRight: step }[event.key] ?? 0, dy = { ArrowUp: -step, ArrowDown: step }[event.key] ?? 0;
    const [x, y, width, height] = boxes[selected].box;
    boxes[selected].box = event.shiftKey ? resized(boxes[selected].box, [1, 1], dx, dy) : inside([x + dx, y + dy, width, height]);
    dirty = true;
    draw();
  }

  return {
    help: [["class", ctx.texts.key_box_class], ["b", ctx.texts.key_new_box], ["Space", ctx.texts.key_next_box],
      ["← → ↑ ↓", ctx.texts.key_move_box], ["Delete", ctx.texts.key_delete_box], ["Esc", ctx.texts.key_escape]],
    tools: [["new_box", () => medium && add(), "b"], ["delete", remove, "Del"]],
    show(item, stage) {
      medium = item.media[0]?.url ? item.media[0] : null;
      boxes = (item.answer ?? []).map(({ label, box }) => ({ label, box: [...box] }));
      selected = -1;
      gesture = null;
      dirty = false;
      if (!medium) { stage.append(...item.media.map((one) => mediumElement(one, item, ctx))); return; }
      const frame = document.createElement("div");
      frame.className = "arm-label-picture";
      picture = mediumElement({ ...medium, note: "" }, item, ctx).firstChild;
      // A small picture is enlarged, or nobody could hit its pixels.
      frame.style.width = `min(100%, ${Math.max(medium.width, Math.min(640, 640 * (medium.width / medium.height)))}px)`;
      picture.draggable = false;
      board = svg("svg", { viewBox: `0 0 ${medium.width} ${medium.height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
      board.addEventListener("pointerdown", begin);
      board.addEventListener("pointermove", follow);
      board.addEventListener("pointerup", end);
      board.addEventListener("pointercancel", end);
      list = document.createElement("ul");
      list.className = "arm-label-parts";
      list.setAttribute("aria-label", ctx.texts.boxes);
      frame.append(picture, board);
      stage.append(frame);
      ctx.below.append(list);
      draw();
      requestAnimationFrame(() => board?.isConnected && draw()); // once its size on the page is known
    },
    pressed: (_item, label) => (selected >= 0 ? boxes[selected].label : ctx.labels[current]) === label,
    choose(label) {
      current = ctx.labels.indexOf(label);
      if (selected < 0) { ctx.marks(); return; }
      boxes[selected].label = label;
      draw();
      commit();
    },
    accept() { ctx.answer(boxes.map(({ label, box }) => ({ label, box })), true); },
    leave() { if (dirty) commit(); },
    describe: (answer) => (answer?.length ? fill(ctx.texts.present, { label: answer.map(({ label }) => label).join(", ") }) : ctx.texts.no_parts),
    key(event) {
      if (!medium) return false;
      if (event.key.startsWith("Arrow") && selected >= 0) nudge(event);
      else if (event.key.toLowerCase() === "b") add();
      else if (event.key === " " && boxes.length) select((selected + (event.shiftKey ? -1 : 1) + boxes.length) % boxes.length);
      else if (event.key === "Delete" || event.key === "Backspace") remove();
      else if (event.key === "Escape" && selected >= 0) select(-1);
      else return false;
      return true;
    },
    keyUp(event) { if (dirty && event.key.startsWith("Arrow")) commit(); },
  };
}
