// Turn's side: the conversation as an agent sees it, the answer box and the journey.

import { element, setText } from "./design/parts.js";
import { $, attempt, call, number, person, state, staysAtEnd } from "./common.js";
import { showTalkLines } from "./bubbles.js";
import { checkNumber, phone } from "./phone.js";
import { smsHint, smsLength } from "./sms.js";

function notesOf(entry) {
  const notes = entry.statuses.map((status) => [(status === "failed" ? "✕ " : "✓ ") + status, status]);
  if (entry.reason !== null) notes.push([entry.reason, "failed"]);
  if (entry.waiting) notes.unshift(["waits for an answer", ""]);
  if (entry.error !== null) notes.push([entry.sending ? `${entry.error}; trying again (${entry.tries})` : entry.error, "failed"]);
  else if (entry.sending) notes.push(["sending…", ""]);
  return notes;
}

export function showTalk() {
  listPeople();
  const talk = state.conversations.get(person(number()));
  showTalkLines($("talk"), (talk ? talk.entries : []).map((entry) => ({
    id: entry.id, text: entry.text, at: entry.at, note: entry.direction === "note", out: entry.direction === "outbound", shape: entry.turn,
    failed: (entry.error !== null && !entry.sending) || entry.statuses.includes("failed"),
    notes: entry.direction === "note" ? [] : notesOf(entry),
    again: entry.error !== null && !entry.sending ? () => send(entry.text, entry.waiting) : null,
  })));
  showClosing();
}

// An answer that would end an open session is hinted at before it is sent.
function showClosing() {
  const { session } = phone();
  const ends = session !== null && !$("waiting").checked && $("turn-input").value.trim() !== "";
  $("closing").hidden = !ends;
  // Outside a session it goes by SMS, which costs by the part.
  const text = $("turn-input").value, sms = session === null && text !== "" && state.setup.phones;
  setText($("cost"), sms ? smsHint(text) : "");
  $("cost").classList.toggle("dear", sms && smsLength(text).parts > 1);
  setText($("closing"), ends ? `This answer ends the USSD session of ${number()}: tick the box above to keep it open.` : "");
}

// Everybody who has a conversation, and whoever's number the phone has.
function listPeople() {
  const people = [...state.conversations.values()].map((one) => one.address);
  if (!state.conversations.has(person(number()))) people.push(number());
  const list = $("person");
  if (list.dataset.people !== String(people)) {
    list.dataset.people = String(people);
    list.replaceChildren(...people.map((one) => element("option", {}, one)));
  }
  list.value = people.find((one) => person(one) === person(number()));
}

// Without phones on the page, somebody has to be shown: who wrote first.
export function followSomebody() {
  if (state.setup.phones || state.conversations.has(person(number()))) return;
  const [first] = state.conversations.values();
  if (first) $("number").value = first.address;
}

// What the worker has not taken stays in the conversation, with a way to send it again.
async function send(text, waiting) {
  if (!checkNumber()) return;
  const error = await attempt("turn-problem", () => call("POST", `conversations/${encodeURIComponent(number())}`, { text, waiting }));
  if (error && error.status !== 502 && !$("turn-input").value) $("turn-input").value = text;
  if (error && error.status === 502) setText($("turn-problem"), "");
}

export function setUpTurn() {
  staysAtEnd($("talk"));
  $("person").addEventListener("change", () => {
    $("number").value = $("person").value;
    $("number").dispatchEvent(new Event("input"));
  });
  $("turn-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("turn-input").value;
    $("turn-input").value = "";
    send(text, $("waiting").checked);
    showClosing();
  });
  $("turn-input").addEventListener("input", showClosing);
  $("waiting").addEventListener("change", showClosing);
  $("journey").addEventListener("change", () => attempt("turn-problem", () => call("PUT", "journey", { on: $("journey").checked })));
}
