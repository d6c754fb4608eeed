// A small drawing of the loss of each run of a list, where the column is asked for: the page comes first, then they.

const main = document.getElementById("main");
const COLUMNS = 40, AT_ONCE = 50; // of pixels; runs that are asked for together
const WIDTH = 80, HEIGHT = 20;
const SVG = "http://www.w3.org/2000/svg";
const known = new Map(); // run -> its curve, null where it has none
const growing = new Set();

async function ask(names) {
  const query = new URLSearchParams({ columns: COLUMNS, names: names.join(",") });
  const answer = await fetch(`api/curves?${query}`);
  if (!answer.ok) return;
  const { curves, unfinished } = await answer.json();
  for (const name of names) { known.set(name, null); growing.delete(name); }
  for (const curve of curves) if (!known.get(curve.run)) known.set(curve.run, curve); // the first of a run's losses
  for (const name of unfinished) growing.add(name);
}

function line({ figure, x, y }) {
  const points = x.map((at, i) => [at, y[i]]).filter(([, value]) => typeof value === "number");
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("role", "img");
  const last = points.length ? points.at(-1)[1] : "not finite";
  drawing.setAttribute("aria-label", `${figure}, at last ${last}`);
  const span = (values) => { const low = Math.min(...values); return [low, Math.max(...values) - low || 1]; };
  const [left, wide] = span(x), [low, high] = span(points.map(([, value]) => value));
  const path = document.createElementNS(SVG, "polyline");
  path.setAttribute("points", points.map(([at, value]) =>
    `${((at - left) / wide * (WIDTH - 4) + 2).toFixed(1)},${(HEIGHT - 2 - (value - low) / high * (HEIGHT - 4)).toFixed(1)}`,
  ).join(" "));
  drawing.append(path);
  return drawing;
}

async function draw() {
  const cells = [...main.querySelectorAll("td[data-spark]")];
  const wanted = cells.map((cell) => cell.dataset.spark).filter((name) => !known.has(name) || growing.has(name));
  for (let begin = 0; begin < wanted.length; begin += AT_ONCE) {
    try { await ask(wanted.slice(begin, begin + AT_ONCE)); } catch { return; } // the badge says that nobody answers
  }
  for (const cell of cells) {
    const curve = known.get(cell.dataset.spark);
    if (curve) cell.replaceChildren(line(curve));
  }
}

main.addEventListener("renewed", draw);
draw();
