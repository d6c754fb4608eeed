// What every page does besides being there: it stays new, shows times as its reader wants them, and obeys keys.
// Without this script every page works; it is then as old as its badge says.

const script = document.querySelector("script[data-news]");
const main = document.getElementById("main");
const badge = document.getElementById("badge");
const SOON = 1000; // ms between two looks at the queue
const asIs = { createHTML: (text) => text, createScriptURL: (text) => text }; // only ever of our own server
const policy = globalThis.trustedTypes ? trustedTypes.createPolicy("page", asIs) : asIs;

// ---- Times -------------------------------------------------------------------------------------------------------

const setting = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing */ } },
};

function spelled(date) {
  const local = setting.get("zone") === "local";
  const parts = Object.fromEntries(new Intl.DateTimeFormat("en-GB", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    timeZone: local ? undefined : "UTC", timeZoneName: "short",
  }).formatToParts(date).map(({ type, value }) => [type, value]));
  return { day: `${parts.year}-${parts.month}-${parts.day}`, clock: `${parts.hour}:${parts.minute}:${parts.second}`,
    zone: parts.timeZoneName };
}

function lasted(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)}h${String(Math.floor(whole % 3600 / 60)).padStart(2, "0")}m`;
  return `${Math.floor(whole / 86400)}d`;
}

let asOf = new Date(main.dataset.asOf); // by the server's clock
let heard = performance.now(); // when we learned that
let connected = true;

const now = () => asOf.getTime() + performance.now() - heard; // the server's clock, whatever ours says

function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const { day, clock, zone } = spelled(at);
    const whole = `${day} ${clock} ${zone}`;
    if (time.className === "ago") time.textContent = `${lasted((now() - at) / 1000)} ago`;
    else if (time.className === "in") time.textContent = at > now() ? `in ${lasted((at - now()) / 1000)}` : "over";
    else time.textContent = whole;
    if (time.className) time.title = whole;
  }
  const { clock, zone } = spelled(asOf);
  const age = lasted((performance.now() - heard) / 1000);
  badge.textContent = `as of ${clock} ${zone}, ${connected ? `${age} ago` : "not connected"}`;
  badge.classList.toggle("lost", !connected);
}

// ---- News --------------------------------------------------------------------------------------------------------

let fetching = false, wanted = false, last = 0;

async function renew() {
  wanted = true;
  if (fetching || document.hidden) return;
  fetching = true;
  while (wanted && !document.hidden) {
    wanted = false;
    await new Promise((done) => setTimeout(done, Math.max(0, last + SOON - performance.now())));
    last = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html");
      const fresh = page.getElementById("main");
      asOf = new Date(fresh.dataset.asOf); heard = performance.now(); connected = true;
      update(fresh);
    } catch { connected = false; }
    tellTimes();
  }
  fetching = false;
}

const same = (a, b) => a.isEqualNode(b);
const isHeld = (element) => element.contains(document.activeElement) || element.querySelector("input:checked") !== null;
const isBusy = (element) => element.matches(":hover") || isHeld(element);

// Parts of the page are what has an id; rows of tables are changed one by one and never move under somebody's hand.
function update(fresh) {
  if (parts(main) !== parts(fresh) && !isHeld(main)) {
    for (const own of main.querySelectorAll("[id][data-own]")) {
      fresh.querySelector(`#${CSS.escape(own.id)}`)?.replaceWith(own);
    }
    main.replaceChildren(...fresh.children);
  } else updateParts(fresh);
  main.dispatchEvent(new CustomEvent("renewed"));
}

function updateParts(fresh) {
  for (const table of fresh.querySelectorAll("table:has(tr[id])")) {
    const old = tableLike(table);
    if (old) updateTable(old, table);
  }
  for (const part of main.querySelectorAll(":scope [id]:not(tr, canvas)")) {
    const twin = fresh.querySelector(`#${CSS.escape(part.id)}`);
    if (!twin || part.hasAttribute("data-own")) continue;
    const bothHaveRows = part.querySelector("tr[id]") && twin.querySelector("tr[id]");
    if (bothHaveRows || same(part, twin) || (isBusy(part) && part.querySelector("input, button"))) continue;
    const atEnd = part.scrollTop + part.clientHeight >= part.scrollHeight - 4;
    part.replaceWith(twin);
    if (atEnd) twin.scrollTop = twin.scrollHeight;
  }
}

const parts = (page) => [...page.querySelectorAll("[id]:not(tr)")].map((part) => part.id).join(" ");

function tableLike(table) {
  const part = table.closest("[id]:not(table)");
  return part && main.querySelector(`#${CSS.escape(part.id)} table`);
}

function updateTable(old, fresh) {
  const rows = new Map([...fresh.tBodies[0].rows].map((row) => [row.id, row]));
  for (const row of old.tBodies[0].rows) {
    const twin = rows.get(row.id);
    if (!twin) continue;
    const chosen = row.querySelector("input")?.checked;
    for (const [number, cell] of [...row.cells].entries()) {
      if (twin.cells[number] && !cell.querySelector("input") && !cell.dataset.spark && !cell.contains(document.activeElement)
          && !same(cell, twin.cells[number])) cell.replaceWith(twin.cells[number].cloneNode(true));
    }
    if (chosen) row.querySelector("input").checked = true;
  }
  const before = [...old.tBodies[0].rows].map((row) => row.id).join(" ");
  if (before === [...rows.keys()].join(" ")) return;
  if (isBusy(old)) offer(old, fresh, [...rows.keys()].filter((id) => !old.querySelector(`#${CSS.escape(id)}`)).length);
  else takeOver(old, fresh);
}

function takeOver(old, fresh) {
  const known = new Set([...old.tBodies[0].rows].map((row) => row.id));
  old.replaceChildren(...fresh.cloneNode(true).children);
  for (const row of old.tBodies[0].rows) if (!known.has(row.id)) row.classList.add("new");
}

function offer(old, fresh, count) {
  const place = old.parentElement;
  let button = place.querySelector("button.newer");
  if (!button) {
    button = Object.assign(document.createElement("button"), { type: "button", className: "newer" });
    place.prepend(button);
  }
  button.textContent = count ? `${count} newer` : "The order has changed: show it";
  button.onclick = () => { button.remove(); takeOver(old, fresh); };
}

let number = null; // of the last news that this page has seen

function hear(word) {
  if (word === "lost") { connected = false; tellTimes(); return; }
  if (number !== null && (word !== number || !connected)) renew();
  number = word;
}

const address = new URL(script.dataset.news, location).href;
let follow;
if (globalThis.SharedWorker) {
  const { port } = new SharedWorker(policy.createScriptURL(new URL("news.js", import.meta.url).href));
  port.onmessage = ({ data }) => hear(data);
  follow = (visible) => port.postMessage({ visible, address });
} else {
  let source = null;
  follow = (visible) => {
    source?.close();
    source = visible ? new EventSource(address) : null;
    if (source) { source.onmessage = ({ data }) => hear(data); source.onerror = () => hear("lost"); }
  };
}

document.addEventListener("visibilitychange", () => { follow(!document.hidden); if (!document.hidden) renew(); });
addEventListener("pagehide", () => follow(false));
addEventListener("pageshow", (event) => { if (event.persisted) { follow(true); renew(); } });

// ---- Buttons and keys --------------------------------------------------------------------------------------------

function setUp() {
  const zone = document.getElementById("zone"), theme = document.getElementById("theme");
  const help = document.getElementById("help"), keys = document.getElementById("keys");
  const paint = () => { document.documentElement.dataset.theme = setting.get("theme") ?? ""; };
  const name = () => { zone.textContent = setting.get("zone") === "local" ? "Local time" : "UTC"; };
  zone.onclick = () => { setting.set("zone", setting.get("zone") === "local" ? "UTC" : "local"); name(); tellTimes(); };
  theme.onclick = () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || (!setting.get("theme") && matchMedia("(prefers-color-scheme: dark)").matches);
    setting.set("theme", dark ? "light" : "dark"); paint();
  };
  help.onclick = () => keys.showModal();
  for (const button of [zone, theme, help]) button.hidden = false;
  paint(); name();
}

const rowsOf = () => [...main.querySelectorAll("tbody tr:has(a[href*='runs/'])")];
const currentRow = () => main.querySelector("tr.current");

function step(by) {
  const rows = rowsOf();
  if (!rows.length) return;
  const place = rows.indexOf(currentRow());
  const next = rows[Math.min(rows.length - 1, Math.max(0, place < 0 ? 0 : place + by))];
  currentRow()?.classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "nearest" });
}

const doings = {
  "/": () => document.getElementById("search").focus(),
  "?": () => document.getElementById("keys").showModal(),
  j: () => step(1),
  k: () => step(-1),
  x: () => currentRow()?.querySelector("input[type=checkbox]")?.click(),
  c: () => document.getElementById("list")?.requestSubmit(),
  Enter: () => currentRow()?.querySelector("a[href*='runs/']")?.click(),
};

document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input:not([type=checkbox]), select, textarea, dialog, a, button");
  if (event.ctrlKey || event.metaKey || event.altKey || (inField && event.key !== "Escape")) return;
  if (event.key === "Escape") { event.target.blur?.(); return; }
  const doing = doings[event.key];
  if (doing) { event.preventDefault(); doing(); }
});

let lastBox = null;
main.addEventListener("click", (event) => {
  const box = event.target.closest("td.pick input");
  if (!box) return;
  if (event.shiftKey && lastBox?.isConnected) {
    const boxes = [...main.querySelectorAll("td.pick input")];
    const [begin, end] = [boxes.indexOf(lastBox), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const one of boxes.slice(begin, end + 1)) one.checked = box.checked;
  }
  lastBox = box;
});

setUp();
tellTimes();
setInterval(tellTimes, 1000);
follow(!document.hidden);
const log = document.getElementById("log");
if (log) log.scrollTop = log.scrollHeight;
