// What is parked: shown, replayed and dropped.

import { ask, clockTime, dataTable, element, icon, plural, setText, toast } from "./design/parts.js";
import { $, attempt, call, state } from "./common.js";
import { showInMessages } from "./messages.js";
import { showPart } from "./nav.js";

const SAID = 40; // characters of a text in news

let table = null;
let known = new Set();

const when = (one) => (one.when === null ? "" : clockTime(Date.parse(`${one.when.replace(" ", "T")}Z`) / 1000));

// Turn's own words, from the answer that the message got.
function wordsOf(one) {
  const message = state.messages.get(one.message_id);
  const hop = message && [...message.hops].reverse().find((each) => each.target === "turn" && each.tone === "bad");
  // They may be in the reason already.
  return hop && hop.detail && !one.reason.includes(hop.detail) ? hop.detail : "";
}

const COLUMNS = [
  { name: "time", title: "Time", class: "nowrap", cell: when },
  { name: "number", title: "Number", class: "nowrap", cell: (one) => one.number || (one.queue === "event" ? "a status" : "") },
  { name: "text", title: "Text", cell: (one) => (one.text === null ? "–" : String(one.text)) },
  { name: "why", title: "Why", cell: (one) => element("span", {}, one.reason, wordsOf(one) ? element("small", {}, ` Turn’s words: ${wordsOf(one)}`) : "") },
  { name: "actions", title: "", class: "nowrap", cell: actions },
];

function actions(one) {
  const button = (name, iconName, label, act) => element("button", { type: "button", class: `only-icon ${name}`, "aria-label": `${label} ${one.text || one.id}`, title: label, onclick: act }, icon(iconName));
  return element("span", { class: "row" },
    button("", "replay", "Replay", () => replay({ ids: [one.id] })),
    button("danger", "trash", "Drop", () => drop({ ids: [one.id] }, "this message")),
    one.message_id ? button("quiet", "list", "Show in Messages", () => showInMessages(one.message_id)) : null);
}

const begin = (text) => (text.length > SAID ? `${text.slice(0, SAID)}…` : text);

export function showParked(parked, quietly = false) {
  const fresh = parked.filter((one) => !known.has(one.id));
  known = new Set(parked.map((one) => one.id));
  const hadFocus = $("view-parked").contains(document.activeElement);
  table.rows(parked);
  for (const badge of document.querySelectorAll("[data-parked-count]")) {
    badge.hidden = parked.length === 0;
    badge.className = "badge bad";
    setText(badge, String(parked.length));
  }
  $("replay-all").disabled = $("drop-all").disabled = parked.length === 0;
  if (hadFocus && !$("view-parked").contains(document.activeElement)) $("parked-list").focus();
  if (!quietly && fresh.length) {
    const text = fresh.length === 1 ? `Parked: “${begin(fresh[0].text || "a message")}”. ${fresh[0].reason}` : `${plural(fresh.length, "message")} were parked.`;
    toast(text, { kind: "warn", name: "parked", action: { text: "Look", act: () => { showPart("parked"); $("tab-parked").click(); } } });
  }
}

const replay = (which) => attempt("parked-problem", async () => {
  const { replayed } = await call("POST", "parked/replay", which);
  toast(`${plural(replayed, "message")} replayed.`, { kind: "good" });
});

async function drop(which, what) {
  if (!(await ask(`Drop ${what}?`, "It is taken out of the queue for good, and cannot be brought back.", "Drop"))) return;
  await attempt("parked-problem", async () => {
    const { dropped } = await call("POST", "parked/drop", which);
    toast(`${plural(dropped, "message")} dropped.`, { kind: "info" });
  });
}

export function setUpParked() {
  table = dataTable($("parked"), COLUMNS, (one) => one.id, "Nothing is parked. To see it, let Turn refuse with 400 (More…) and send an SMS.");
  $("replay-all").addEventListener("click", () => replay({}));
  $("drop-all").addEventListener("click", () => drop({}, "all that is parked"));
}
