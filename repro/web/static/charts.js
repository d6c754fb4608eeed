// Curves of runs, drawn on canvases: a chart a figure, a line a run. The server thins each curve to what so many columns
// of pixels can show and loses no peak; a part that is looked at more closely is asked for again.
// Without this script the page has a table of the same figures.

const main = document.getElementById("main");
const COLOURS = 8; // --c0 to --c7 of the stylesheet; what comes after them has dashes
const DASHES = [[], [7, 3], [2, 2], [10, 3, 2, 3], [14, 5], [1, 4], [6, 2, 1, 2, 1, 2]];
const HEIGHT = 280, LINE = 12, MOST_READ = 12, MOST_DOTS = 60, PULLED = 5;
const WORDS = { NaN, Infinity, "-Infinity": -Infinity }; // JSON has no numbers for them

function make(tag, facts = {}, ...children) {
  const element = Object.assign(document.createElement(tag), facts);
  element.append(...children);
  return element;
}

const number = (value) => (typeof value === "string" ? WORDS[value] : value);
const clamped = (value, least, largest) => Math.min(largest, Math.max(least, value));

function spelled(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-4) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

function round(begin, end, about) { // round numbers in between
  const rough = (end - begin) / about, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const ticks = [];
  if (!(size > 0) || !Number.isFinite(size)) return ticks;
  for (let n = Math.ceil(begin / size); n <= end / size && ticks.length < 50; n++) ticks.push(n * size);
  return ticks;
}

function decades(begin, end) { // the same, of powers of ten; a short axis has round numbers
  const first = Math.ceil(begin), last = Math.floor(end);
  if (last <= first) return round(10 ** begin, 10 ** end, 4).filter((at) => at > 0);
  const stride = Math.ceil((last - first + 1) / 7), ticks = [];
  for (let power = first; power <= last; power += stride) ticks.push(10 ** power);
  return ticks;
}

function smooth(values, weight) { // as `repro losses --smooth`: without a bias to 0
  let mean = 0, total = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

function nearest(x, at) { // the place of the nearest number of a sorted list
  let low = 0, high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - x[low - 1] <= x[low] - at ? low - 1 : low;
}

// ---- One figure of some runs -------------------------------------------------------------------------------------

class Chart {
  constructor(group, figure) {
    Object.assign(this, { group, figure, whole: new Map(), part: null, range: null, log: false, weight: 0 });
    Object.assign(this, { cross: null, pull: null, pointer: null, due: false });
    this.canvas = make("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.readout = make("div", { className: "readout", hidden: true });
    this.readout.setAttribute("role", "status");
    this.back = make("button", { type: "button", textContent: "Whole", hidden: true, onclick: () => this.reset() });
    const log = make("input", { type: "checkbox", onchange: () => { this.log = log.checked; this.redraw(); } });
    const weight = make("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0 });
    weight.oninput = () => { this.weight = Number(weight.value); this.redraw(); };
    const tools = make("span", { className: "tools" }, this.back, make("label", {}, log, " log"));
    if (!figure.startsWith("val")) tools.append(make("label", {}, "smooth ", weight));
    const place = make("div", { className: "canvas" }, this.canvas, this.readout);
    this.element = make("figure", { className: "chart" }, make("figcaption", {}, make("b", { textContent: figure }), tools), place);
    this.listen();
  }

  get curves() { return [...(this.part ?? this.whole).values()]; }

  take(curves, ofPart) {
    const into = ofPart ? (this.part ??= new Map()) : this.whole;
    for (const curve of curves) into.set(curve.run, { ...curve, y: curve.y.map(number) });
    const units = new Set(this.curves.map((curve) => curve.unit));
    this.unit = [...units].join(" or ");
    this.canvas.setAttribute("aria-label", `${this.figure} of ${this.whole.size} runs over ${this.unit}; arrow keys read it`);
    this.redraw();
  }

  // -- What the mouse and the keys do

  listen() {
    const at = (event) => event.clientX - this.canvas.getBoundingClientRect().left;
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.pull = [at(event), at(event)];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.pull) this.pull[1] = at(event);
      this.pointer = event.clientY - this.canvas.getBoundingClientRect().top;
      this.cross = this.frame?.value(at(event)) ?? null;
      this.redraw();
    });
    this.canvas.addEventListener("pointerup", () => {
      const [begin, end] = (this.pull ?? [0, 0]).toSorted((a, b) => a - b);
      this.pull = null;
      if (end - begin > PULLED && this.frame) this.zoom(this.frame.value(begin), this.frame.value(end));
      this.redraw();
    });
    for (const name of ["pointerleave", "pointercancel", "blur"]) {
      this.canvas.addEventListener(name, () => {
        if (name === "pointercancel") this.pull = null;
        if (!this.pull && (name === "blur" || document.activeElement !== this.canvas)) this.cross = null;
        this.redraw();
      });
    }
    this.canvas.addEventListener("dblclick", () => this.reset());
    this.canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.press(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      this.redraw();
    });
  }

  press(key) {
    const [begin, end] = this.frame?.x ?? [0, 1], half = (end - begin) / 4;
    this.pointer = null;
    if (key === "ArrowRight") this.cross = this.beside(1);
    else if (key === "ArrowLeft") this.cross = this.beside(-1);
    else if (key === "Home") this.cross = begin;
    else if (key === "End") this.cross = end;
    else if (key === "+") this.zoom((this.cross ?? (begin + end) / 2) - half, (this.cross ?? (begin + end) / 2) + half);
    else if (key === "-" || (key === "Escape" && this.range)) this.reset();
    else return false;
    return true;
  }

  beside(by) { // where the next point lies, of whatever run
    const [begin, end] = this.frame.x, from = this.cross ?? (by > 0 ? -Infinity : Infinity);
    let next = null;
    for (const { x } of this.curves) for (const at of x) {
      if (at < begin || at > end || (at - from) * by <= 0) continue;
      if (next === null || (next - at) * by > 0) next = at;
    }
    return next ?? this.cross;
  }

  async zoom(begin, end) {
    this.range = [begin, end];
    this.back.hidden = false;
    this.redraw();
    await this.renew();
  }

  reset() {
    this.range = this.part = null;
    this.back.hidden = true;
    this.redraw();
  }

  async renew(some = {}) { // the part that is looked at, as the server has it
    if (!this.range) return;
    const range = this.range;
    const answer = await this.group.ask({ ...some, figure: this.figure, begin: range[0], end: range[1] });
    if (answer && this.range === range) this.take(answer.curves, true);
  }

  // -- Drawing

  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; if (this.canvas.isConnected) this.draw(); });
  }

  draw() {
    const width = this.canvas.clientWidth, ratio = devicePixelRatio || 1, pen = this.canvas.getContext("2d");
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "12px system-ui, sans-serif";
    const frame = this.frame = this.measure(width);
    this.drawFrame(pen, frame);
    pen.save();
    pen.beginPath();
    pen.rect(frame.left, frame.top - 1, frame.right - frame.left, frame.bottom - frame.top + 2);
    pen.clip();
    for (const curve of this.curves) this.drawCurve(pen, frame, curve);
    pen.restore();
    for (const curve of this.curves) this.drawRim(pen, frame, curve);
    this.drawNames(pen, frame);
    this.drawCross(pen, frame);
    if (this.pull) {
      pen.fillStyle = this.group.colour("--link");
      pen.globalAlpha = 0.2;
      pen.fillRect(Math.min(...this.pull), frame.top, Math.abs(this.pull[1] - this.pull[0]), frame.bottom - frame.top);
      pen.globalAlpha = 1;
    }
    this.group.place.dataset.state = "drawn";
  }

  fits(value) { return Number.isFinite(value) && (!this.log || value > 0); }

  measure(width) {
    let [low, high, least, most] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const { x } of this.curves) if (x.length) { low = Math.min(low, x[0]); high = Math.max(high, x.at(-1)); }
    if (this.range) [low, high] = this.range;
    for (const { x, y } of this.curves) for (let i = 0; i < x.length; i++) {
      if (x[i] < low || x[i] > high || !this.fits(y[i])) continue;
      least = Math.min(least, y[i]);
      most = Math.max(most, y[i]);
    }
    const isEmpty = !(least <= most);
    if (!(low < high)) [low, high] = Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
    const scale = this.log ? Math.log10 : (value) => value;
    let [bottomValue, topValue] = isEmpty ? [0, 1] : [scale(least), scale(most)];
    const margin = (topValue - bottomValue) * 0.05 || Math.abs(topValue) * 0.1 || 1;
    [bottomValue, topValue] = [bottomValue - margin, topValue + margin];
    const left = 62, right = width - (width > 520 ? 118 : 14), top = 16, bottom = HEIGHT - 34;
    return {
      left, right, top, bottom, isEmpty, x: [low, high], y: [bottomValue, topValue],
      across: (at) => left + (at - low) / (high - low) * (right - left),
      up: (value) => bottom - (scale(value) - bottomValue) / (topValue - bottomValue) * (bottom - top),
      value: (pixel) => low + (clamped(pixel, left, right) - left) / (right - left) * (high - low),
    };
  }

  drawFrame(pen, frame) {
    const { left, right, top, bottom } = frame;
    pen.strokeStyle = this.group.colour("--line");
    pen.fillStyle = this.group.colour("--quiet");
    pen.lineWidth = 1;
    pen.setLineDash([]);
    pen.beginPath();
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const rows = frame.isEmpty ? [] : this.log ? decades(...frame.y) : round(...frame.y, 5);
    for (const value of rows) {
      const at = frame.up(value);
      if (at < top || at > bottom) continue;
      pen.moveTo(left, at); pen.lineTo(right, at);
      pen.fillText(spelled(value), left - 6, at);
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const value of round(...frame.x, clamped((right - left) / 90, 2, 8))) {
      pen.moveTo(frame.across(value), top); pen.lineTo(frame.across(value), bottom);
      pen.fillText(spelled(value), frame.across(value), bottom + 5);
    }
    pen.rect(left, top, right - left, bottom - top);
    pen.stroke();
    pen.fillText(this.unit, (left + right) / 2, bottom + 20);
    if (frame.isEmpty) pen.fillText("no value that can be drawn", (left + right) / 2, (top + bottom) / 2);
  }

  dress(pen, run) { // colour and dashes, by the place in the selection
    const place = Math.max(0, this.group.runs.indexOf(run)), { focus } = this.group;
    pen.strokeStyle = pen.fillStyle = this.group.colour(`--c${place % COLOURS}`);
    pen.setLineDash(DASHES[Math.floor(place / COLOURS) % DASHES.length]);
    pen.globalAlpha = focus && focus !== run ? 0.2 : 1;
    pen.lineWidth = focus === run ? 2.5 : 1.5;
  }

  drawCurve(pen, frame, curve) {
    this.dress(pen, curve.run);
    const isSmoothed = this.weight > 0 && !curve.validation;
    if (isSmoothed) {
      const alpha = pen.globalAlpha;
      pen.globalAlpha = alpha * 0.25;
      this.trace(pen, frame, curve.x, curve.y);
      pen.globalAlpha = alpha;
    }
    this.trace(pen, frame, curve.x, isSmoothed ? smooth(curve.y, this.weight) : curve.y);
  }

  trace(pen, frame, x, y) {
    const dotted = x.length <= MOST_DOTS;
    let isOn = false;
    pen.beginPath();
    for (let i = 0; i < x.length; i++) {
      if (!this.fits(y[i])) { isOn = false; continue; }
      const [across, up] = [frame.across(x[i]), frame.up(y[i])];
      if (isOn) pen.lineTo(across, up); else pen.moveTo(across, up);
      isOn = true;
    }
    pen.stroke();
    for (let i = 0; i < x.length; i++) {
      const isAlone = !this.fits(y[i - 1]) && !this.fits(y[i + 1]);
      if (this.fits(y[i]) && (dotted || isAlone)) this.dot(pen, frame.across(x[i]), frame.up(y[i]), 2);
    }
  }

  dot(pen, across, up, size) {
    pen.beginPath();
    pen.arc(across, up, size, 0, 7);
    pen.fill();
  }

  drawRim(pen, frame, { run, x, y }) { // what no axis has a place for: a cross is NaN, a triangle points to infinity
    this.dress(pen, run);
    pen.setLineDash([]);
    pen.beginPath();
    for (let i = 0; i < x.length; i++) {
      if (this.fits(y[i]) || x[i] < frame.x[0] || x[i] > frame.x[1]) continue;
      const at = frame.across(x[i]), isLow = y[i] <= 0, tip = isLow ? frame.bottom + 4 : frame.top - 8;
      if (Number.isNaN(y[i])) {
        pen.moveTo(at - 3, tip); pen.lineTo(at + 3, tip + 6);
        pen.moveTo(at - 3, tip + 6); pen.lineTo(at + 3, tip);
      } else {
        const foot = isLow ? tip - 6 : tip + 6;
        pen.moveTo(at - 3, foot); pen.lineTo(at, tip); pen.lineTo(at + 3, foot); pen.lineTo(at - 3, foot);
      }
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  drawNames(pen, frame) { // beside the ends of the lines, as many as have room
    if (frame.right > this.canvas.clientWidth - 100) return;
    const ends = [];
    for (const { run, x, y } of this.curves) {
      let last = x.length - 1;
      while (last >= 0 && (x[last] > frame.x[1] || !this.fits(y[last]))) last--;
      if (last >= 0 && x[last] >= frame.x[0]) ends.push([clamped(frame.up(y[last]), frame.top, frame.bottom), run]);
    }
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    ends.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ends.length; i++) ends[i][0] = Math.max(ends[i][0], ends[i - 1][0] + LINE);
    for (let i = ends.length - 1, free = frame.bottom + LINE; i >= 0; i--) free = ends[i][0] = Math.min(ends[i][0], free - LINE);
    for (const [at, run] of ends) {
      if (at < frame.top - LINE) continue;
      this.dress(pen, run);
      pen.fillText(run.length > 17 ? `${run.slice(0, 16)}…` : run, frame.right + 6, at);
    }
    pen.globalAlpha = 1;
  }

  drawCross(pen, frame) {
    const isRead = this.cross !== null && this.curves.length > 0;
    this.readout.hidden = !isRead;
    if (!isRead) return;
    const read = this.curves.filter(({ x }) => x.length).map((curve) => {
      const i = nearest(curve.x, this.cross);
      return { run: curve.run, x: curve.x[i], y: curve.y[i] };
    });
    const step = read.reduce((best, one) => (Math.abs(one.x - this.cross) < Math.abs(best - this.cross) ? one.x : best), Infinity);
    const across = frame.across(clamped(Number.isFinite(step) ? step : this.cross, ...frame.x));
    pen.strokeStyle = this.group.colour("--quiet");
    pen.setLineDash([]);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(across, frame.top); pen.lineTo(across, frame.bottom);
    pen.stroke();
    for (const { run, x, y } of read) {
      this.dress(pen, run);
      if (this.fits(y) && x >= frame.x[0] && x <= frame.x[1]) this.dot(pen, frame.across(x), frame.up(y), 3.5);
    }
    pen.globalAlpha = 1;
    this.tell(read, step, across, frame);
  }

  tell(read, step, across, frame) {
    const far = ({ y }) => (this.pointer === null || !this.fits(y) ? 0 : Math.abs(frame.up(y) - this.pointer));
    const near = read.toSorted((a, b) => far(a) - far(b)).slice(0, MOST_READ);
    const lines = near.sort((a, b) => b.y - a.y).map(({ run, x, y }) => {
      const where = x === step && Number.isFinite(y) ? "" : ` at ${this.unit} ${spelled(x)}`;
      return make("p", {}, this.group.sample(run), ` ${run} `, make("b", { textContent: spelled(y) }), where);
    });
    if (read.length > lines.length) lines.push(make("p", { textContent: `and ${read.length - lines.length} more` }));
    this.readout.replaceChildren(make("p", { textContent: `${this.unit} ${spelled(step)}` }), ...lines);
    const isRight = across > (frame.left + frame.right) / 2;
    this.readout.style.left = isRight ? "auto" : `${across + 10}px`;
    this.readout.style.right = isRight ? `${this.canvas.clientWidth - across + 10}px` : "auto";
  }
}

// ---- All figures of a selection ----------------------------------------------------------------------------------

class Group {
  constructor(place) {
    Object.assign(this, { place, charts: new Map(), runs: [], unfinished: [], focus: null, colours: new Map() });
    this.isAsking = this.isWanted = false;
    this.probe = make("span", { hidden: true });
    this.note = make("p", { className: "quiet" });
    this.legend = make("ul", { className: "legend" });
    place.replaceChildren(this.legend, this.note, this.probe);
    new ResizeObserver(() => this.redraw()).observe(place);
  }

  redraw() { for (const chart of this.charts.values()) chart.redraw(); }

  repaint() { this.colours.clear(); this.redraw(); }

  colour(name) { // what the stylesheet says in this theme
    if (!this.colours.has(name)) {
      this.probe.style.color = `var(${name})`;
      this.colours.set(name, getComputedStyle(this.probe).color);
    }
    return this.colours.get(name);
  }

  async ask(words) {
    const address = new URL(this.place.dataset.curves, location.href);
    const columns = clamped(Math.round(this.place.clientWidth), 100, 4000);
    for (const [key, value] of Object.entries({ columns, ...words })) address.searchParams.set(key, value);
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json" } });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.error);
      return told;
    } catch (error) {
      if (!this.charts.size) this.note.textContent = `The curves can't be shown: ${error.message}`;
      return null; // what is drawn stays; the badge of the page says how old it is
    }
  }

  async load() { // all; then, again and again, those that may still grow
    let isFirst = !this.runs.length;
    this.isWanted = true;
    if (this.isAsking) return;
    this.isAsking = true;
    while (this.isWanted) {
      this.isWanted = false;
      const some = isFirst ? {} : { names: this.unfinished.join(",") };
      const answer = await this.ask(some);
      if (!answer) break;
      if (isFirst) this.runs = answer.runs;
      isFirst = false;
      this.take(answer);
      for (const chart of this.charts.values()) if (some.names) await chart.renew(some);
    }
    this.isAsking = false;
  }

  take(answer) {
    this.unfinished = answer.unfinished;
    for (const figure of new Set(answer.curves.map((curve) => curve.figure))) {
      if (!this.charts.has(figure)) {
        this.charts.set(figure, new Chart(this, figure));
        this.place.append(this.charts.get(figure).element);
      }
      this.charts.get(figure).take(answer.curves.filter((curve) => curve.figure === figure), false);
    }
    this.tellLegend(answer.curves);
    this.note.textContent = this.charts.size ? "" : answer.missing.join("; ");
    if (!this.charts.size) this.place.dataset.state = "empty";
  }

  tellLegend(curves) {
    const known = new Set([...this.legend.children].map((item) => item.dataset.run));
    for (const { run, label } of curves) {
      if (known.has(run)) continue;
      known.add(run);
      const item = make("li", {}, this.sample(run), ` ${label}`);
      item.dataset.run = run;
      item.onpointerenter = () => { this.focus = run; this.redraw(); };
      item.onpointerleave = () => { this.focus = null; this.redraw(); };
      this.legend.append(item);
    }
  }

  sample(run) {
    const place = Math.max(0, this.runs.indexOf(run)), line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const facts = { x1: 0, x2: 24, y1: 5, y2: 5, "stroke-dasharray": DASHES[Math.floor(place / COLOURS) % DASHES.length].join(" ") };
    for (const [key, value] of Object.entries(facts)) line.setAttribute(key, value);
    const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    sample.setAttribute("class", `sample c${place % COLOURS}`);
    sample.setAttribute("aria-hidden", "true");
    sample.append(line);
    return sample;
  }
}

// ---- The page ----------------------------------------------------------------------------------------------------

const groups = new Map();

function follow() { // charts that have come, and runs that go on
  for (const place of groups.keys()) if (!place.isConnected) groups.delete(place);
  for (const place of main.querySelectorAll("[data-curves]")) {
    const group = groups.get(place);
    if (!group) groups.set(place, new Group(place));
    if (!group || group.unfinished.length || !group.runs.length) groups.get(place).load();
  }
}

const repaint = () => { for (const group of groups.values()) group.repaint(); };
new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("resize", repaint);
main.addEventListener("renewed", follow);
follow();
