// Files of several runs beside one another: one zoom for all pictures, one place for all texts. A place is a share of
// the picture, so that pictures of different sizes show the same part. Without this script each is shown whole.
// The page's news may exchange any element: nothing is kept in one, and all listening is done by their parent.

import { clamped, make } from "./pieces.js";

const MOST = 32, STEP = 1.5, SHIFT = 0.1, PULLED = 5, DENSE = 2;
const main = document.getElementById("main");
const sheet = new CSSStyleSheet();
const view = { zoom: 1, x: 0.5, y: 0.5 }; // which share of each picture lies in the middle of its frame
document.adoptedStyleSheets.push(sheet);

function show() {
  const rim = 0.5 / view.zoom;
  [view.x, view.y] = [clamped(view.x, rim, 1 - rim), clamped(view.y, rim, 1 - rim)];
  const move = `scale(${view.zoom}) translate(${(0.5 - view.x) * 100}%, ${(0.5 - view.y) * 100}%)`;
  const rendering = view.zoom > DENSE ? "pixelated" : "auto"; // what is looked at closely is looked at as it is
  sheet.replaceSync(`.beside .look img { transform: ${move}; image-rendering: ${rendering}; }`);
}

function zoom(by, x = view.x, y = view.y) { // what lies at this share stays where it is
  const next = clamped(view.zoom * by, 1, MOST), kept = view.zoom / next;
  [view.x, view.y, view.zoom] = [x + (view.x - x) * kept, y + (view.y - y) * kept, next];
  show();
}

function shift(x, y) { // by shares of a frame
  view.x += x / view.zoom;
  view.y += y / view.zoom;
  show();
}

const KEYS = {
  "+": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: () => zoom(0), ArrowLeft: () => shift(-SHIFT, 0),
  ArrowRight: () => shift(SHIFT, 0), ArrowUp: () => shift(0, -SHIFT), ArrowDown: () => shift(0, SHIFT),
};
const frameOf = (event) => event.target.closest?.(".look");
let from = null, pulled = 0;

main.addEventListener("wheel", (event) => {
  if (!event.ctrlKey || !frameOf(event)) return; // without it a wheel moves the page
  event.preventDefault();
  const box = frameOf(event).querySelector("img").getBoundingClientRect(); // as it is zoomed
  zoom(event.deltaY < 0 ? STEP : 1 / STEP, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
}, { passive: false });
main.addEventListener("pointerdown", (event) => {
  pulled = 0;
  if (event.button !== 0 || view.zoom === 1 || !frameOf(event)) return;
  from = { frame: frameOf(event), x: event.clientX, y: event.clientY };
  from.frame.setPointerCapture(event.pointerId);
});
main.addEventListener("pointermove", (event) => {
  if (!from) return;
  const [x, y] = [from.x - event.clientX, from.y - event.clientY];
  pulled += Math.hypot(x, y);
  [from.x, from.y] = [event.clientX, event.clientY];
  shift(x / from.frame.clientWidth, y / from.frame.clientHeight);
});
for (const name of ["pointerup", "pointercancel"]) main.addEventListener(name, () => { from = null; });
main.addEventListener("dragstart", (event) => { if (frameOf(event)) event.preventDefault(); });
main.addEventListener("click", (event) => { if (frameOf(event) && pulled > PULLED) event.preventDefault(); });
main.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key] || !frameOf(event)) return;
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
});
main.addEventListener("scroll", ({ target }) => {
  if (!target.matches("#files pre")) return;
  for (const other of main.querySelectorAll("#files pre")) other.scrollTo(target.scrollLeft, target.scrollTop);
}, true);

function offer() {
  if (main.querySelector(".zoom") || !main.querySelector(".look")) return;
  const button = (textContent, ariaLabel, key) => make("button", { type: "button", textContent, ariaLabel, onclick: KEYS[key] });
  const hint = make("span", { className: "quiet" }, " Ctrl and the wheel zoom, a pull moves; on a picture the keys + - 0 and arrows do.");
  const buttons = [button("+", "Closer", "+"), button("−", "Farther", "-"), button("Whole", "Whole pictures", 0)];
  main.querySelector("#files").before(make("p", { className: "zoom" }, ...buttons, hint));
}

main.addEventListener("renewed", offer);
offer();
show();
