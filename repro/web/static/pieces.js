// What charts are made of: elements, and numbers: how they are spelled, which are round, what lies near, their average.

export function make(tag, facts = {}, ...children) {
  const element = Object.assign(document.createElement(tag), facts);
  element.append(...children);
  return element;
}

export function draw(tag, facts, ...children) { // the same, of SVG
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(facts)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const clamped = (value, least, largest) => Math.min(largest, Math.max(least, value));

export function spelled(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-4) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

export function round(begin, end, about) { // round numbers in between
  const rough = (end - begin) / about, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const ticks = [];
  if (!(size > 0) || !Number.isFinite(size)) return ticks;
  for (let n = Math.ceil(begin / size); n <= end / size && ticks.length < 50; n++) ticks.push(n * size);
  return ticks;
}

export function decades(begin, end) { // the same, of powers of ten; a short axis has round numbers
  const first = Math.ceil(begin), last = Math.floor(end);
  if (last <= first) return round(10 ** begin, 10 ** end, 4).filter((at) => at > 0);
  const stride = Math.ceil((last - first + 1) / 7), ticks = [];
  for (let power = first; power <= last; power += stride) ticks.push(10 ** power);
  return ticks;
}

export function smooth(values, weight) { // as `repro losses --smooth`: without a bias to 0
  let mean = 0, total = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

export function nearest(x, at) { // the place of the nearest number of a sorted list
  let low = 0, high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle + 1; else high = middle;
  }
  return low > 0 && at - x[low - 1] <= x[low] - at ? low - 1 : low;
}
