// Curves of runs, drawn on canvases: a chart a figure, a line a run. The server thins each curve to what so many
// columns of pixels can show and loses no peak; a part that is looked at more closely is asked for again. What is not
// finite is no number of JSON but its name, of which Number() makes it again.
// Without this script the page has a table of the same figures.

import { clamped, decades, draw, make, nearest, round, smooth, spelled } from "./pieces.js";

const main = document.getElementById("main");
const COLOURS = 8; // --c0 to --c7 of the stylesheet; what comes after them has dashes
const DASHES = [[], [7, 3], [2, 2], [10, 3, 2, 3], [14, 5], [1, 4], [6, 2, 1, 2, 1, 2]];
const HEIGHT = 280, LINE = 12, MOST_READ = 12, MOST_DOTS = 60, DENSE = 300, PIECE = 100, PULLED = 5;

// ---- One figure of some runs -------------------------------------------------------------------------------------

class Chart {
  constructor(group, figure) {
    Object.assign(this, { group, figure, whole: new Map(), part: null, range: null, log: false, weight: 0 });
    Object.assign(this, { cross: null, pull: null, pointer: null, due: false });
    this.canvas = make("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.readout = make("div", { className: "readout", hidden: true, role: "status" });
    this.back = make("button", { type: "button", textContent: "Whole", hidden: true, onclick: () => this.reset() });
    const log = make("input", { type: "checkbox", onchange: () => { this.log = log.checked; this.redraw(); } });
    const weight = make("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0 });
    weight.oninput = () => { this.weight = Number(weight.value); this.redraw(); };
    const tools = make("span", { className: "knobs" }, this.back, make("label", {}, log, " log"));
    if (!figure.startsWith("val")) tools.append(make("label", {}, "smooth ", weight));
    const caption = make("figcaption", {}, make("b", { textContent: figure }), tools);
    const place = make("div", { className: "canvas" }, this.canvas, this.readout);
    this.element = make("figure", { className: "chart" }, caption, place);
    this.listen();
  }

  get curves() { return [...(this.part ?? this.whole).values()]; }

  take(curves, ofPart) {
    const into = ofPart ? (this.part ??= new Map()) : this.whole;
    for (const curve of curves) into.set(curve.run, { ...curve, y: curve.y.map(Number) });
    this.unit = [...new Set(this.curves.map((curve) => curve.unit))].join(" or ");
    this.canvas.ariaLabel = `${this.figure} of ${this.whole.size} runs over ${this.unit}; arrow keys read it`;
    this.redraw();
  }

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
      if (end - begin > PULLED) this.zoom(this.frame.value(begin), this.frame.value(end));
    });
    for (const name of ["pointerleave", "pointercancel", "blur"]) {
      this.canvas.addEventListener(name, () => {
        this.pull = null;
        if (document.activeElement !== this.canvas) this.cross = null;
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
    else if (key === "Home" || key === "End") this.cross = key === "Home" ? begin : end;
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

  zoom(begin, end) {
    this.range = [begin, end];
    this.back.hidden = false;
    this.redraw();
    this.renew();
  }

  reset() {
    this.range = this.part = null;
    this.back.hidden = true;
    this.redraw();
  }

  async renew(some = {}) { // the part that is looked at, as the server has it
    const { range, figure } = this;
    const answer = range && await this.group.ask({ ...some, figure, begin: range[0], end: range[1] });
    if (answer && this.range === range) this.take(answer.curves, true);
  }

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
    let [least, most] = [Infinity, -Infinity];
    const ends = this.curves.filter(({ x }) => x.length).flatMap(({ x }) => [x[0], x.at(-1)]);
    let [low, high] = this.range ?? [Math.min(...ends), Math.max(...ends)];
    for (const { x, y } of this.curves) for (let i = 0; i < x.length; i++) {
      if (x[i] < low || x[i] > high || !this.fits(y[i])) continue;
      least = Math.min(least, y[i]);
      most = Math.max(most, y[i]);
    }
    const isEmpty = !(least <= most), scale = this.log ? Math.log10 : (value) => value;
    if (!(low < high)) [low, high] = Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
    const [down, up] = isEmpty ? [0, 1] : [scale(least), scale(most)];
    const margin = (up - down) * 0.05 || Math.abs(up) * 0.1 || 1, bottomValue = down - margin, topValue = up + margin;
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
    pen.setLineDash([]); pen.beginPath();
    [pen.textAlign, pen.textBaseline] = ["right", "middle"];
    const rows = frame.isEmpty ? [] : this.log ? decades(...frame.y) : round(...frame.y, 5);
    for (const value of rows) {
      const at = frame.up(value);
      if (at < top || at > bottom) continue;
      pen.moveTo(left, at); pen.lineTo(right, at);
      pen.fillText(spelled(value), left - 6, at);
    }
    [pen.textAlign, pen.textBaseline] = ["center", "top"];
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
    const { colour, dashes } = this.group.dress(run), { focus } = this.group;
    pen.strokeStyle = pen.fillStyle = this.group.colour(`--c${colour}`);
    pen.setLineDash(dashes);
    pen.globalAlpha = focus && focus !== run ? 0.2 : 1;
    pen.lineWidth = focus === run ? 2.5 : 1.5;
  }

  drawCurve(pen, frame, { run, x, y, validation }) {
    this.dress(pen, run);
    if (!this.weight || validation) { this.trace(pen, frame, x, y); return; }
    const alpha = pen.globalAlpha;
    pen.globalAlpha = alpha * 0.25;
    this.trace(pen, frame, x, y);
    pen.globalAlpha = alpha;
    this.trace(pen, frame, x, smooth(y, this.weight));
  }

  trace(pen, frame, x, y) {
    const dashes = pen.getLineDash(), isDense = x.length > DENSE;
    if (isDense) [pen.lineWidth, pen.lineJoin] = [Math.min(1, pen.lineWidth), "bevel"]; // many times as fast
    if (isDense && dashes.length) { // dashes along such a line would be dots: they go along the axis, and hide nothing
      const period = dashes.reduce((sum, one) => sum + one) * 3, alpha = pen.globalAlpha;
      pen.setLineDash([]);
      this.line(pen, frame, x, y, (at) => at % period < dashes[0] * 3);
      pen.globalAlpha = alpha * 0.35;
      this.line(pen, frame, x, y, (at) => at % period >= dashes[0] * 3);
      pen.globalAlpha = alpha;
    } else this.line(pen, frame, x, y, () => true);
    for (let i = 0; i < x.length; i++) {
      const isAlone = !this.fits(y[i - 1]) && !this.fits(y[i + 1]);
      if (this.fits(y[i]) && (x.length <= MOST_DOTS || isAlone)) this.dot(pen, frame.across(x[i]), frame.up(y[i]), 2);
    }
  }

  line(pen, frame, x, y, isWanted) {
    let isOn = false;
    pen.beginPath();
    for (let i = 0; i < x.length; i++) {
      if (!this.fits(y[i])) { isOn = false; continue; }
      const across = frame.across(x[i]), up = frame.up(y[i]);
      if (isOn && isWanted(across)) pen.lineTo(across, up); else pen.moveTo(across, up);
      isOn = true;
      if (i % PIECE === PIECE - 1) { pen.stroke(); pen.beginPath(); pen.moveTo(across, up); }
    }
    pen.stroke();
  }

  dot(pen, across, up, size) {
    pen.beginPath();
    pen.arc(across, up, size, 0, 7);
    pen.fill();
  }

  drawRim(pen, frame, { run, x, y }) { // what no axis has a place for: a cross is NaN, a triangle points to infinity
    this.dress(pen, run);
    pen.setLineDash([]); pen.beginPath();
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
    [pen.textAlign, pen.textBaseline] = ["left", "middle"];
    ends.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < ends.length; i++) ends[i][0] = Math.max(ends[i][0], ends[i - 1][0] + LINE);
    let free = frame.bottom + LINE;
    for (const end of ends.toReversed()) free = end[0] = Math.min(end[0], free - LINE);
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
    const off = (x) => Math.abs(x - this.cross);
    const step = read.reduce((best, { x }) => (off(x) < off(best) ? x : best), Infinity);
    const across = frame.across(clamped(Number.isFinite(step) ? step : this.cross, ...frame.x));
    pen.strokeStyle = this.group.colour("--quiet");
    pen.lineWidth = 1;
    pen.setLineDash([]); pen.beginPath();
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
    this.probe = make("span", { hidden: true });
    this.note = make("p", { className: "quiet" });
    this.legend = make("ul", { className: "legend" });
    place.replaceChildren(this.legend, this.note, this.probe);
    new ResizeObserver(() => { if (this.width !== place.clientWidth) this.redraw(); }).observe(place);
  }

  redraw() {
    this.width = this.place.clientWidth;
    for (const chart of this.charts.values()) chart.redraw();
  }

  repaint() { this.colours.clear(); this.redraw(); }

  colour(name) { // what the stylesheet says in this theme
    if (!this.colours.has(name)) {
      this.probe.style.color = `var(${name})`;
      this.colours.set(name, getComputedStyle(this.probe).color);
    }
    return this.colours.get(name);
  }

  dress(run) { // by its place in the selection, whichever of the others have curves
    const place = Math.max(0, this.runs.indexOf(run));
    return { colour: place % COLOURS, dashes: DASHES[Math.floor(place / COLOURS) % DASHES.length] };
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
    this.redraw(); // one chart alone is wide; beside another it is not
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
    const { colour, dashes } = this.dress(run);
    const line = draw("line", { x1: 0, x2: 24, y1: 5, y2: 5, "stroke-dasharray": dashes.join(" ") });
    return draw("svg", { class: `sample c${colour}`, "aria-hidden": true }, line);
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
