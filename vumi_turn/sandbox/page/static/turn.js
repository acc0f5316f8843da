// Turn's side: the conversation as an agent sees it, the answer box and the journey.

import { $, attempt, call, element, number, person, state } from "./common.js";
import { showBubbles } from "./bubbles.js";

function notesOf(entry) {
  const notes = entry.statuses.map((status) => [(status === "failed" ? "✕ " : "✓ ") + status, status]);
  if (entry.waiting) notes.unshift(["waiting for input", ""]);
  if (entry.error !== null) notes.push([entry.sending ? `${entry.error}; trying again (${entry.tries})` : entry.error, "sending"]);
  else if (entry.sending) notes.push(["sending…", ""]);
  return notes;
}

export function showTalk() {
  listPeople();
  const talk = state.conversations.get(person(number()));
  showBubbles($("talk"), (talk ? talk.entries : []).map((entry) => ({
    id: entry.id, text: entry.text, at: entry.at, out: entry.direction === "outbound",
    failed: (entry.error !== null && !entry.sending) || entry.statuses.includes("failed"),
    notes: notesOf(entry),
  })));
}

// Everybody who has a conversation, and whoever's number the phone has.
function listPeople() {
  const people = [...state.conversations.values()].map((one) => one.address);
  if (!state.conversations.has(person(number()))) people.push(number());
  const list = $("person");
  if (list.dataset.people !== String(people)) {
    list.dataset.people = String(people);
    list.replaceChildren(...people.map((one) => element("option", one)));
  }
  list.value = people.find((one) => person(one) === person(number()));
}

// Without phones on the page, somebody has to be shown: who wrote first.
export function followSomebody() {
  if (!$("phone-body").hidden || state.conversations.has(person(number()))) return;
  const [first] = state.conversations.values();
  if (first) $("number").value = first.address;
}

export function setUpTurn() {
  $("person").addEventListener("change", () => {
    $("number").value = $("person").value;
    $("number").dispatchEvent(new Event("input"));
  });
  $("turn-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $("turn-input").value;
    const to = number();
    $("turn-input").value = "";
    const said = { text, waiting: $("waiting").checked };
    const worked = await attempt("turn-error", () => call("POST", `conversations/${encodeURIComponent(to)}`, said));
    if (!worked && !$("turn-input").value) $("turn-input").value = text;
  });
  $("journey").addEventListener("change", () => attempt("turn-error", () =>
    call("PUT", "journey", { on: $("journey").checked })));
}
