// All GPUs as one picture: a tile per rack, a row per tray, a cell per GPU. The same file runs in notebooks (anywidget) and in Panel.
//
//   cells   one byte per GPU, in order of rack, tray, GPU: its state in the low 3 bits, what the mode shows of it in the high 5
//             state    0 free, 1 leased, 2 out of service, 3 leased on a tray out of service, 4 reserved,
//                      5 held by somebody outside the portal
//             "busy"   0 not measured, 1 to 21: 0 % to 100 % in steps of 5
//             "holder" 0 nobody, 1 to 8 a holder of the legend, 9 another one
//   racks   [[name, [GPUs of each tray]], ...]
//   mode    "state", "busy" or "holder": what the colours mean
//   legend  [[byte, text], ...]
//   sentence  the figures in words, shown above; may be empty
//   words   label, help, rack ("{name}: {parts}"), states (6 names), mean ("... {percent} ...")
//   chosen  name of the rack that is looked at
//   asked   {count, action: "rack", domain}: set when somebody opens a rack
//
// Colours: Okabe and Ito (2008) for states and holders, Cividis for utilisation. Whatever is not simply free or leased carries a mark
// as well: a cross (out of service), a stroke (draining), a dot (reserved), a bar (outside the portal),
// a dash (not measured).

const SIZES = [[26, 13], [20, 11], [16, 9], [13, 7], [11, 6], [9, 5], [8, 4]]; // width and height of a cell, CSS pixels
const TALLEST = 700; // CSS pixels that the whole may be high before cells get smaller
const PAD = 4;
const NAME = 14; // height of a rack's name
const STATES = ["#f4f7f2", "#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#CC79A7"];
const HOLDERS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000", "#8a938d"];
const CIVIDIS = ["#00204C", "#002963", "#00316F", "#1A3A6C", "#31446B", "#414D6B", "#4D556B", "#5A5F6D", "#666870", "#717273", "#7C7B78",
  "#888578", "#958F78", "#A29976", "#AEA373", "#BCAE6E", "#CAB969", "#D8C561", "#E7D158", "#F5DD4D", "#FFE945"];
const UNKNOWN = "#d5dad6";

function bytes(value) {
  if (!value) return new Uint8Array(0);
  return value instanceof ArrayBuffer ? new Uint8Array(value) : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

function light(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}

function colourOf(mode, state, level) {
  const held = state === 1 || state === 3;
  if (mode === "busy" && held) return level ? CIVIDIS[Math.min(level, 21) - 1] : UNKNOWN;
  if (mode === "holder" && held) return level ? HOLDERS[Math.min(level, 9) - 1] : UNKNOWN;
  return mode === "state" || state === 2 || state === 5 ? STATES[state] || UNKNOWN : STATES[0];
}

// Draw one cell; all lengths in device pixels.
function paint(context, mode, value, x, y, width, height) {
  const [state, level] = [value & 7, value >> 3];
  const colour = colourOf(mode, state, level);
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
  if (colour === STATES[0]) {
    context.strokeStyle = "#7d877f";
    context.lineWidth = 1;
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  }
  context.strokeStyle = context.fillStyle = light(colour) ? "#000" : "#fff";
  context.lineWidth = Math.max(1, height / 6);
  context.beginPath();
  if (state === 2 || state === 3) { context.moveTo(x + 1, y + height - 1); context.lineTo(x + width - 1, y + 1); }
  if (state === 2) { context.moveTo(x + 1, y + 1); context.lineTo(x + width - 1, y + height - 1); }
  if (mode === "busy" && state === 1 && !level) { context.moveTo(x + width / 4, y + height / 2); context.lineTo(x + width * 0.75, y + height / 2); }
  if (state === 5) { context.moveTo(x + width / 2, y); context.lineTo(x + width / 2, y + height); }
  context.stroke();
  if (state === 4) { const dot = Math.max(2, height / 2); context.fillRect(x + (width - dot) / 2, y + (height - dot) / 2, dot, dot); }
}

function fill(sentence, parts) {
  return (sentence || "").replace(/\{(\w+)\}/g, (_, name) => parts[name] ?? "");
}

function make(tag, parent, name) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  parent.appendChild(made);
  return made;
}

function render({ model, el }) {
  const root = make("div", el, "nvl fleet");
  const sentence = make("p", root, "sentence");
  const legend = make("ul", root, "legend");
  const help = make("p", root, "note help");
  const stage = make("div", root, "stage");
  const canvas = make("canvas", stage);
  const tiles = make("div", stage, "tiles");
  const line = make("p", root, "figures");
  canvas.setAttribute("aria-hidden", "true");
  help.id = `fleet-help-${Math.random().toString(36).slice(2)}`;
  tiles.setAttribute("role", "group");
  tiles.setAttribute("aria-describedby", help.id);
  line.setAttribute("aria-live", "polite");

  let plan = null; // where everything lies; made anew when racks or the width change
  let drawn = null; // the bytes on the canvas
  let sprites = new Map();
  let current = 0; // the rack that the Tab key comes to
  let open = ""; // the rack that is looked at
  let waiting = 0; // the frame that draws next
  let anew = false; // whether it draws everything

  function words() { return model.get("words") || {}; }

  function lay() {
    const racks = model.get("racks") || [];
    const width = stage.clientWidth;
    if (!width) return null;
    const ratio = window.devicePixelRatio || 1;
    const columns = Math.max(1, ...racks.map(([, trays]) => Math.max(0, ...trays)));
    const rows = Math.max(1, ...racks.map(([, trays]) => trays.length));
    const fits = SIZES.map(([cellWidth, cellHeight]) => {
      const tile = [columns * cellWidth + 2 * PAD, rows * cellHeight + NAME + PAD];
      const across = Math.max(1, Math.floor(width / tile[0]));
      return { cellWidth, cellHeight, tile, across, height: Math.ceil(racks.length / across) * tile[1] };
    });
    const found = fits.find((one) => one.height <= TALLEST && one.tile[0] <= width) || fits[fits.length - 1];
    const total = racks.reduce((sum, [, trays]) => sum + trays.reduce((all, gpus) => all + gpus, 0), 0);
    const places = new Int32Array(2 * total);
    const starts = [];
    let at = 0;
    racks.forEach(([, trays], rack) => {
      const left = (rack % found.across) * found.tile[0] + PAD;
      const top = Math.floor(rack / found.across) * found.tile[1] + NAME;
      starts.push(at);
      trays.forEach((gpus, tray) => {
        for (let gpu = 0; gpu < gpus; gpu += 1, at += 1) {
          places[2 * at] = Math.round((left + gpu * found.cellWidth) * ratio);
          places[2 * at + 1] = Math.round((top + tray * found.cellHeight) * ratio);
        }
      });
    });
    starts.push(at);
    // One pixel is left between cells: device pixels, so that lines stay sharp.
    const cell = [Math.floor(found.cellWidth * ratio) - 1, Math.floor(found.cellHeight * ratio) - 1];
    return { ...found, racks, width, ratio, places, starts, cell };
  }

  function sprite(value) {
    let found = sprites.get(value);
    if (!found) {
      found = document.createElement("canvas");
      [found.width, found.height] = plan.cell;
      paint(found.getContext("2d"), model.get("mode"), value, 0, 0, ...plan.cell);
      sprites.set(value, found);
    }
    return found;
  }

  function names(context) {
    context.fillStyle = "#1d2420";
    context.textBaseline = "alphabetic";
    context.font = `${Math.round(10 * plan.ratio)}px system-ui, sans-serif`;
    plan.racks.forEach(([name], rack) => {
      const x = ((rack % plan.across) * plan.tile[0] + PAD) * plan.ratio;
      const y = (Math.floor(rack / plan.across) * plan.tile[1] + NAME - 3) * plan.ratio;
      context.fillText(name, x, y, (plan.tile[0] - PAD) * plan.ratio);
    });
  }

  // Everything anew: another width, other racks, or colours that mean something else.
  function whole() {
    plan = lay();
    if (!plan) return;
    sprites = new Map();
    drawn = null;
    canvas.width = Math.round(plan.width * plan.ratio);
    canvas.height = Math.round(plan.height * plan.ratio);
    canvas.style.width = `${plan.width}px`;
    canvas.style.height = `${plan.height}px`;
    stage.style.height = `${plan.height}px`;
    names(canvas.getContext("2d"));
    buttons();
    changed();
  }

  // Only cells whose byte is another one than that on the canvas.
  function changed() {
    if (!plan) return;
    const cells = bytes(model.get("cells"));
    const count = plan.places.length / 2;
    if (cells.length !== count) return; // racks and cells are on their way one after the other
    const context = canvas.getContext("2d");
    let painted = 0;
    for (let at = 0; at < count; at += 1) {
      if (drawn && drawn[at] === cells[at]) continue;
      const [x, y] = [plan.places[2 * at], plan.places[2 * at + 1]];
      context.clearRect(x, y, ...plan.cell);
      context.drawImage(sprite(cells[at]), x, y);
      painted += 1;
    }
    drawn = cells.slice();
    root.dataset.painted = painted;
    root.dataset.gpus = count;
    if (line.textContent) tell(current);
  }

  // Several changes of one moment are drawn once.
  function soon(what) {
    cancelAnimationFrame(waiting);
    anew = anew || what === whole || !plan;
    waiting = requestAnimationFrame(() => { (anew ? whole : changed)(); anew = false; });
  }

  function figures(rack) {
    const told = words();
    const part = drawn ? drawn.subarray(plan.starts[rack], plan.starts[rack + 1]) : [];
    const counts = STATES.map(() => 0);
    const levels = new Map();
    for (const value of part) {
      counts[value & 7] += 1;
      if (value >> 3) levels.set(value >> 3, (levels.get(value >> 3) || 0) + 1);
    }
    const parts = (told.states || []).map((name, state) => [counts[state], name]).filter(([count]) => count);
    const shown = parts.map(([count, name]) => `${name} ${count}`);
    if (model.get("mode") === "busy" && levels.size) {
      let [sum, all] = [0, 0];
      levels.forEach((count, level) => { sum += count * (level - 1) * 5; all += count; });
      shown.push(fill(told.mean, { percent: Math.round(sum / all) }));
    }
    if (model.get("mode") === "holder") {
      const text = new Map((model.get("legend") || []).filter(([value]) => (value & 7) === 1).map(([value, label]) => [value >> 3, label]));
      [...levels].sort((one, other) => other[1] - one[1]).slice(0, 3)
        .forEach(([level, count]) => shown.push(`${text.get(level) || ""} ${count}`));
    }
    return fill(told.rack, { name: plan.racks[rack][0], parts: shown.join(" · ") });
  }

  function tell(rack) {
    if (!plan || !plan.racks[rack]) return;
    const text = figures(rack);
    if (line.textContent !== text) line.textContent = text;
  }

  function buttons() {
    tiles.setAttribute("aria-label", words().label || "");
    help.textContent = words().help || "";
    current = Math.min(current, Math.max(0, plan.racks.length - 1));
    while (tiles.children.length > plan.racks.length) tiles.lastChild.remove();
    while (tiles.children.length < plan.racks.length) make("button", tiles).type = "button";
    plan.racks.forEach(([name], rack) => {
      const button = tiles.children[rack];
      button.setAttribute("aria-label", name);
      button.dataset.rack = rack;
      button.tabIndex = rack === current ? 0 : -1;
      button.style.cssText = `left:${(rack % plan.across) * plan.tile[0]}px;top:${Math.floor(rack / plan.across) * plan.tile[1]}px;`
        + `width:${plan.tile[0]}px;height:${plan.tile[1]}px`;
    });
    mark();
  }

  function mark() {
    const name = model.get("chosen");
    // What was open is closed; the focus that lay in it comes back to its tile.
    if (open && !name) requestAnimationFrame(() => {
      if (!document.activeElement || document.activeElement === document.body) tiles.children[current].focus();
    });
    open = name;
    for (const button of tiles.children) {
      if (button.getAttribute("aria-label") === name) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  function say() {
    sentence.textContent = model.get("sentence") || "";
    sentence.hidden = !sentence.textContent;
  }

  function explain() {
    legend.replaceChildren();
    for (const [value, text] of model.get("legend") || []) {
      const item = make("li", legend);
      const swatch = make("canvas", item);
      [swatch.width, swatch.height] = [36, 24];
      swatch.setAttribute("aria-hidden", "true");
      paint(swatch.getContext("2d"), model.get("mode"), value, 0, 0, 36, 24);
      make("span", item).textContent = text;
    }
  }

  function go(rack) {
    if (!plan || rack < 0 || rack >= plan.racks.length) return;
    tiles.children[current].tabIndex = -1;
    current = rack;
    tiles.children[rack].tabIndex = 0;
    tiles.children[rack].focus();
  }

  const rackOf = (event) => { const button = event.target.closest("[data-rack]"); return button ? Number(button.dataset.rack) : -1; };
  tiles.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: plan.across, ArrowUp: -plan.across };
    const ends = { Home: 0, End: plan.racks.length - 1 };
    if (event.key in steps) go(current + steps[event.key]);
    else if (event.key in ends) go(ends[event.key]);
    else return;
    event.preventDefault();
  });
  tiles.addEventListener("focusin", (event) => { const rack = rackOf(event); if (rack >= 0) { current = rack; tell(rack); } });
  tiles.addEventListener("pointerover", (event) => {
    const rack = rackOf(event);
    if (rack >= 0) tiles.children[rack].title = figures(rack);
  });
  tiles.addEventListener("click", (event) => {
    const rack = rackOf(event);
    if (rack < 0) return;
    tiles.children[current].tabIndex = -1;
    current = rack;
    tiles.children[rack].tabIndex = 0;
    tell(rack);
    model.set("asked", { count: Math.random(), action: "rack", domain: plan.racks[rack][0] });
    model.save_changes();
  });

  const heard = [["cells", () => soon(changed)], ["racks", () => soon(whole)], ["words", () => soon(whole)], ["chosen", mark],
    ["mode", () => { explain(); soon(whole); }], ["legend", explain], ["sentence", say]];
  heard.forEach(([name, told]) => model.on(`change:${name}`, told));
  const watcher = new ResizeObserver(() => {
    if (!plan || plan.width !== stage.clientWidth || plan.ratio !== window.devicePixelRatio) whole();
  });
  watcher.observe(stage);
  say();
  explain();
  whole();
  return () => {
    watcher.disconnect();
    cancelAnimationFrame(waiting);
    heard.forEach(([name, told]) => model.off(`change:${name}`, told));
  };
}

export default { render };
