// What the pages' scripts share: making elements, tabs, tables, toasts, questions, and events that reconnect.

// ---- elements

// element("button", {class: "quiet", type: "button", onclick: act}, icon("copy"), "Copy")
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("icons.svg", import.meta.url).href;

// An icon of icons.svg. It says nothing to a screen reader: a word stands beside it, or the button has a name.
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  made.append(use);
  return made;
}

// Each <i data-icon="name"> of the page becomes that icon.
export function placeIcons(root = document) {
  for (const place of root.querySelectorAll("i[data-icon]")) place.replaceWith(icon(place.dataset.icon));
}

// A text that stays the same is not set again: a screen reader would say it again.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Make a parent's children those of a list of items, keeping the elements that stay, so that focus and scrolling stay too.
// keyOf(item) is a text; make(item) gives a new element; fill(element, item) is called for new ones and those that changed.
export function showList(parent, items, keyOf, make, fill) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let after = null;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    const said = JSON.stringify(item);
    if (child.said !== said) {
      child.said = said;
      fill(child, item);
    }
    const next = after ? after.nextElementSibling : parent.firstElementChild;
    if (next !== child) parent.insertBefore(child, next);
    after = child;
  }
  for (const gone of known.values()) gone.remove();
}

// ---- words

const CLOCK = { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" };
export const clockTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], CLOCK);
export const exactTime = (seconds) => `${clockTime(seconds)}.${String(Math.floor((seconds % 1) * 1000)).padStart(3, "0")}`;
export const plural = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

// Seconds in words: "40 ms", "3.2 s", "3 min", "2 h", "4 d".
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1).replace(".0", "")} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// The date and the time of day of a moment, as the reader's country writes them.
export const dateTime = (seconds) => new Date(seconds * 1000).toLocaleString([], { ...CLOCK, year: "numeric", month: "short", day: "numeric" });

// How long ago a moment is: "just now", "12 s ago", "3 min ago".
export function ago(seconds) {
  const passed = Date.now() / 1000 - seconds;
  return passed < 1 ? "just now" : `${duration(Math.floor(passed))} ago`;
}

// A text in pieces, those that were searched for in <mark>.
export function marked(text, words) {
  if (!words) return [text];
  const pieces = [], low = text.toLowerCase();
  if (low.length !== text.length) return [text]; // a letter whose small form is longer
  let from = 0;
  for (let at = low.indexOf(words); at >= 0; at = low.indexOf(words, from)) {
    pieces.push(text.slice(from, at), element("mark", {}, text.slice(at, at + words.length)));
    from = at + words.length;
  }
  return [...pieces, text.slice(from)];
}

// Keys of the whole page: {"/": act}; where an act gives false, the key does what it does without. Not while somebody types, nor with Ctrl, Alt or Meta, nor where a dialog is open.
export function shortcuts(keys) {
  document.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea, [contenteditable], dialog");
    if (!act || typing || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (act() !== false) event.preventDefault();
  });
}

// ---- the API

// A caller of a JSON API below a path. It gives the answer's value, or throws an Error in the API's own words, with the answer's
// status where there was one.
export function jsonApi(base) {
  return async (method, path, body) => {
    const options = { method, headers: {} };
    if (body !== undefined) {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    let answer;
    try {
      answer = await fetch(base + path, options);
    } catch {
      throw new Error("The server does not answer.");
    }
    let value = null;
    try {
      value = await answer.json();
    } catch {
      throw new Error(`The server answered ${answer.status}, and not in JSON.`);
    }
    if (!answer.ok) {
      const text = value.errors ? value.errors[0].details : `The server answered ${answer.status}.`;
      throw Object.assign(new Error(text), { status: answer.status });
    }
    return value;
  };
}

// ---- events

const RECONNECT_FIRST = 500, RECONNECT_MOST = 5000; // milliseconds

// Server-sent events that begin with all there is, and begin anew after the connection was lost.
// load() gives all there is, and show(it) shows that; handlers[name](details) show one event; state("live" | "connecting" | "lost") is told.
// Events that come while all there is is on its way wait for it. Returns a function that ends it.
export function liveEvents(url, { load, show, handlers, state }) {
  let source = null, timer = null, wait = RECONNECT_FIRST, ended = false;
  function again() {
    if (ended) return;
    source.close();
    state("lost");
    clearTimeout(timer);
    timer = setTimeout(open, wait);
    wait = Math.min(wait * 2, RECONNECT_MOST);
  }
  function open() {
    state("connecting");
    const mine = new EventSource(url);
    source = mine;
    let waiting = [];
    mine.addEventListener("open", async () => {
      try {
        const all = await load();
        if (source !== mine || ended) return;
        show(all);
      } catch {
        if (source === mine) again();
        return;
      }
      const missed = waiting;
      waiting = null;
      wait = RECONNECT_FIRST;
      state("live");
      for (const [name, details] of missed) handlers[name](details);
    });
    mine.addEventListener("error", () => { if (source === mine) again(); });
    for (const name of Object.keys(handlers)) {
      mine.addEventListener(name, (event) => {
        const details = JSON.parse(event.data);
        if (waiting === null) handlers[name](details);
        else waiting.push([name, details]);
      });
    }
  }
  // Browsers keep a page that was left for its return, with its connection: of these they allow six to one server.
  addEventListener("pagehide", () => { clearTimeout(timer); source.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted && !ended) open(); });
  open();
  return () => { ended = true; clearTimeout(timer); source.close(); };
}

// ---- tabs

// A list with role=tablist, whose tabs name their panels by aria-controls. Gives a function that chooses a tab by its id.
export function tabs(list, chosen = () => {}) {
  const all = () => [...list.querySelectorAll("[role=tab]")].filter((tab) => !tab.hidden);
  function choose(id, focus = false) {
    for (const tab of list.querySelectorAll("[role=tab]")) {
      const is = tab.id === id;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls"));
      if (panel) panel.hidden = !is;
      if (is && focus) tab.focus();
    }
    chosen(id);
  }
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab.id);
  });
  list.addEventListener("keydown", (event) => {
    const there = all();
    const at = there.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(there[(to + there.length) % there.length].id, true);
  });
  return choose;
}

// ---- tables

// A table with columns [{name, title, class?, cell(row) -> text or node}]. Gives {rows(list), loading(), failed(text)}.
// The table tells by an event "rows" that it shows some. A row needs a key: keyOf(row) is a text.
export function dataTable(table, columns, keyOf, emptyText = "Nothing here.") {
  table.classList.add("table");
  const head = element("tr", {}, ...columns.map((one) => element("th", { scope: "col", class: one.class }, one.title || "")));
  for (const [index, one] of columns.entries()) if (!one.title) head.children[index].append(element("span", { class: "unseen" }, one.name));
  const body = element("tbody");
  table.append(element("thead", {}, head), body);
  const note = element("div", { class: "nothing", hidden: true });
  table.after(note);
  const say = (kind, ...what) => {
    table.hidden = true;
    note.hidden = false;
    note.className = kind;
    note.replaceChildren(...what);
  };
  // A cell that looks the same stays, so that what has the focus in it keeps it.
  function fill(row, item) {
    for (const [index, one] of columns.entries()) {
      const cell = element("td", { class: one.class, data: { label: one.title || "" } }, one.cell(item));
      const old = row.children[index];
      if (!old) row.append(cell);
      else if (!old.isEqualNode(cell)) old.replaceWith(cell);
    }
  }
  return {
    rows(list) {
      if (!list.length) return say("nothing", element("p", {}, emptyText));
      table.hidden = false;
      note.hidden = true;
      showList(body, list, keyOf, () => element("tr"), fill);
      table.dispatchEvent(new Event("rows", { bubbles: true }));
    },
    loading() { say("loading", element("span", { class: "unseen" }, "Loading…")); },
    failed(text) { say("nothing failed", icon("failed"), element("p", {}, text)); },
  };
}

// ---- toasts

const STAYS = 6000; // milliseconds

function toastPlace() {
  let place = document.querySelector(".toasts");
  if (!place) {
    // A landmark of its own, and polite: it is read when the reader is silent.
    place = element("section", { class: "toasts", "aria-label": "News", "aria-live": "polite" });
    document.body.append(place);
  }
  return place;
}

// Short news: kind is info, good, warn or bad; action is {text, act}. Bad news stay until they are closed.
export function toast(text, { kind = "info", action = null, name = null } = {}) {
  const place = toastPlace();
  if (name) for (const old of place.querySelectorAll(".toast")) if (old.dataset.name === name) old.remove();
  const shown = element("div", { class: `toast ${kind}`, data: name ? { name } : {} },
    icon({ info: "info", good: "check", warn: "warning", bad: "failed" }[kind]), element("p", {}, text));
  const close = () => shown.remove();
  if (action) shown.append(element("button", { type: "button", class: "quiet", onclick: () => { close(); action.act(); } }, action.text));
  shown.append(element("button", { type: "button", class: "quiet only-icon", "aria-label": "Close", onclick: close }, icon("close")));
  place.append(shown);
  while (place.children.length > 4) place.firstElementChild.remove();
  if (kind !== "bad") {
    let timer = setTimeout(close, STAYS);
    // Who is reading or about to press is not hurried.
    for (const name of ["pointerenter", "focusin"]) shown.addEventListener(name, () => clearTimeout(timer));
    for (const name of ["pointerleave", "focusout"]) shown.addEventListener(name, () => { timer = setTimeout(close, STAYS); });
  }
  return close;
}

// ---- questions

// Ask before something that cannot be taken back; resolves to whether it is wanted.
export function ask(title, text, action) {
  return new Promise((resolve) => {
    const heading = element("h2", { id: "ask-title" }, title);
    const dialog = element("dialog", { "aria-labelledby": "ask-title" }, heading, element("p", {}, text),
      element("div", { class: "actions" },
        element("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        element("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, action)));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// ---- the clipboard

export async function copyText(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`, { kind: "good", name: "copied" });
  } catch {
    toast(`The browser does not let this page copy ${what}.`, { kind: "warn", name: "copied" });
  }
}
