// What is parked: listed, replayed, dropped.

import { ask, dataTable, element, icon, marked, plural, setText, toast } from "../design/parts.js";
import { $, api, change, moment } from "./common.js";

const ROWS = 50;
const LATER = 400; // milliseconds: what is typed, and news, are waited for
let go = null, table = null, offset = 0, matching = 0, shown = [], person = "", open = false, asked = 0, timer = null, canChange = false, busy = false;
const chosen = new Set();

const columns = [
  { name: "Choose", title: "", cell: (row) => (row.canChange ? element("input", { type: "checkbox", "aria-label": `Choose ${row.id}`, data: { digest: row.digest }, onchange: (event) => choose(row, event.target.checked) }) : "") },
  { title: "Message", class: "lead", cell: (row) => element("button", { type: "button", class: "link mono", onclick: () => go(`trace/${encodeURIComponent(row.id)}`) }, row.id) },
  { title: "When", class: "nowrap", cell: (row) => moment(row.when) },
  { title: "Channel", class: "nowrap", cell: (row) => row.connector },
  { title: "Person", class: "mono", cell: (row) => (row.person ? element("button", { type: "button", class: "link mono", "aria-label": `Only of person ${row.person}`, onclick: () => { person = row.person; from(0); } }, row.person) : "–") },
  { title: "Reason", cell: (row) => element("div", {}, element("p", {}, ...marked(row.reason, row.wanted)), row.words ? element("p", { class: "words" }, "Turn says: ", ...marked(row.words, row.wanted)) : null, row.content ? element("p", { class: "content" }, `“${row.content}”`) : null) },
  { title: "Tries", class: "number", cell: (row) => (row.attempts === null ? "–" : String(row.attempts)) },
  { name: "Actions", title: "", cell: (row) => (row.canChange ? element("div", { class: "row-actions" },
    element("button", { type: "button", class: "quiet", disabled: row.queue === null, "aria-label": `Replay ${row.id}`, onclick: () => act("replay", { digests: [row.digest] }, 1) }, icon("replay"), "Replay"),
    element("button", { type: "button", class: "quiet only-icon", "aria-label": `Drop ${row.id}`, title: "Drop", onclick: () => act("drop", { digests: [row.digest] }, 1) }, icon("trash"))) : "") },
];

export function setUp(goTo) {
  go = goTo;
  table = dataTable($("parked-table"), columns, (row) => row.connector + row.digest, "Nothing is parked here.");
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["filter-connector", "filter-age", "filter-status"]) $(id).addEventListener("change", () => from(0));
  $("filter-reason").addEventListener("input", () => later(() => from(0)));
  $("person-chip").addEventListener("click", () => { person = ""; from(0); $("filter-connector").focus(); });
  $("previous").addEventListener("click", () => from(offset - ROWS));
  $("next").addEventListener("click", () => from(offset + ROWS));
  $("choose-all").addEventListener("change", (event) => { for (const row of shown) choose(row, event.target.checked); ticks(); });
  for (const what of ["replay", "drop"]) $(what).addEventListener("click", () => (chosen.size ? act(what, { digests: [...chosen] }, chosen.size) : act(what, selection(), matching)));
}

// The view is opened, with the channel that a link names.
export function showParked(connector) {
  if (connector !== undefined) {
    channels([...new Set([...optionNames(), connector])]);
    $("filter-connector").value = connector;
  }
  open = true;
  table.loading();
  from(0);
}

export function leave() { open = false; }

const optionNames = () => [...$("filter-connector").options].map((one) => one.value).filter(Boolean);

export function channels(names) {
  const select = $("filter-connector");
  if (JSON.stringify(optionNames()) === JSON.stringify(names)) return;
  const value = select.value;
  select.replaceChildren(element("option", { value: "" }, "All channels"), ...names.map((name) => element("option", { value: name }, name)));
  select.value = names.includes(value) ? value : "";
}

// There is another list of some channel's.
export function changed() { if (open) later(load); }

// The numbers of some channels' queues are known: where one's parked have changed, the list is another.
const counts = new Map();
export function counted(some) {
  let news = false;
  for (const one of some) {
    const now = one.queues.turn_failures;
    news ||= counts.has(one.connector) && counts.get(one.connector) !== now;
    counts.set(one.connector, now);
  }
  if (news) changed();
}

function later(act) {
  clearTimeout(timer);
  timer = setTimeout(act, LATER);
}

function from(row) {
  offset = Math.max(row, 0);
  chosen.clear();
  load();
}

// The filter, as the API takes it.
function given() {
  const found = { connector: $("filter-connector").value, reason: $("filter-reason").value.trim(), person, status: $("filter-status").value };
  const [age, seconds] = $("filter-age").value.split("=");
  if (age) found[age] = seconds;
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
}

// The same for a change: without any filter beside the channel it means all.
function selection() {
  const filter = given();
  const some = Object.keys(filter).some((name) => name !== "connector");
  return some ? filter : { ...filter, all: true };
}

async function load() {
  const mine = ++asked;
  $("person-chip").hidden = !person;
  $("person-chip").replaceChildren(icon("person"), `Person ${person}`, icon("close"));
  const query = new URLSearchParams({ ...given(), offset, limit: ROWS });
  try {
    const found = await api("GET", `parked?${query}`);
    if (mine !== asked) return;
    show(found);
  } catch (error) {
    if (mine === asked) table.failed(error.message);
  }
}

function show(found) {
  canChange = found.can_change;
  matching = found.matching;
  const wanted = $("filter-reason").value.trim().toLowerCase();
  shown = found.parked.map((row) => ({ ...row, canChange, wanted }));
  if (!shown.length && offset > 0 && matching) return from(Math.floor((matching - 1) / ROWS) * ROWS);
  table.rows(shown);
  ticks();
  $("only-shows").hidden = canChange;
  $("actions").hidden = !canChange || !matching;
  $("pager").hidden = matching <= ROWS;
  setText($("range"), `${offset + 1} to ${offset + shown.length} of ${matching}`);
  $("previous").disabled = offset === 0;
  $("next").disabled = offset + ROWS >= matching;
  const troubles = Object.entries(found.errors).map(([name, error]) => `${name}: ${error}`);
  const reading = found.reading.length ? [`Reading what ${found.reading.slice(0, 3).join(", ")}${found.reading.length > 3 ? " and others have" : found.reading.length > 1 ? " have" : " has"} parked…`] : [];
  $("reading").hidden = !reading.length && !troubles.length;
  $("reading").className = troubles.length ? "banner bad" : "banner";
  setText($("reading"), [...troubles, ...reading].join(" "));
}

function choose(row, is) {
  if (is) chosen.add(row.digest);
  else chosen.delete(row.digest);
  ticks();
}

function ticks() {
  for (const box of $("parked-table").querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.dataset.digest);
  const here = shown.filter((row) => chosen.has(row.digest)).length;
  $("choose-all").checked = shown.length > 0 && here === shown.length;
  $("choose-all").indeterminate = here > 0 && here < shown.length;
  setText($("chosen"), chosen.size ? `${chosen.size} chosen` : "None chosen");
  const of = chosen.size ? String(chosen.size) : `all ${matching}`;
  setText($("replay").querySelector("span"), `Replay ${of}`);
  setText($("drop").querySelector("span"), `Drop ${of}`);
}

async function act(what, body, count) {
  if (busy) return toast("Wait until the last one is done.", { kind: "warn", name: "busy" });
  const them = plural(count, "message");
  if (what === "drop" && !(await ask(`Drop ${them}?`, "What is dropped is gone for ever.", "Drop"))) return;
  if (what === "replay" && count > 1 && !(await ask(`Replay ${them}?`, "Each goes back into the queue that it came from, and to Turn again.", "Replay"))) return;
  busy = true;
  $("actions").inert = true;
  const begun = () => toast(what === "drop" ? `Dropping ${them}…` : `Replaying ${them}…`, { name: "change" });
  const over = () => { for (const old of document.querySelectorAll(".toast[data-name=change]")) old.remove(); };
  try {
    const done = await change(`parked/${what}`, body, begun, over);
    over();
    if (done === null) return;
    const left = done.left ? ` ${plural(done.left, "message")} did not say where they came from, and stay.` : "";
    toast(`${plural(done.done, "message")} ${what === "drop" ? "dropped" : "replayed"}.${left}`, { kind: done.done ? "good" : "warn", name: "change" });
    chosen.clear();
  } finally {
    busy = false;
    $("actions").inert = false;
    load();
  }
}
