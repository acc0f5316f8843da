// The phone: what it shows, and what a person does with it.

import { element, setText, tabs } from "./design/parts.js";
import { $, attempt, call, isNumber, number, person, state, staysAtEnd } from "./common.js";
import { showTalkLines } from "./bubbles.js";
import { smsLength } from "./sms.js";

const seen = new Map(); // how many texts of each phone were looked at
const EMPTY = { screen: null, screen_length: { used: 0, size: 160 }, session: null, texts: [], steps: [] };

export const phone = () => state.phones.get(person(number())) || EMPTY;
const isCode = (text) => /^\*[0-9*#]+#$/.test(text);
const path = (action) => `phones/${encodeURIComponent(number())}/${action}`;

let lastCode = "*120*8864#";

export function checkNumber() {
  const good = isNumber(number());
  $("number").setAttribute("aria-invalid", String(!good));
  setText($("number-problem"), good ? "" : "A phone number has 3 to 15 digits, with or without a leading +.");
  if (good) setText($("phone-problem"), "");
  return good;
}

export function showPhone() {
  const { screen, screen_length: length, session, texts, steps } = phone();
  const waiting = session !== null && session.waiting;
  const closed = session === null && screen !== null;
  setText($("session"), session === null ? (closed ? "Session closed" : "No session") : `Session open on ${session.code}`);
  const before = $("screen").textContent;
  setText($("screen"), waiting ? "Waiting for the service…" : screen || (session ? "" : `Press Call to dial ${lastCode}`));
  // What could not be done before the screen changed is not what is wrong now.
  if ($("screen").textContent !== before) setText($("phone-problem"), "");
  setText($("left"), waiting || !screen ? `${length.size} characters fit` : `${length.used} of ${length.size}, ${length.size - length.used} left`);
  $("display").className = session === null ? "" : "open";
  setText($("ussd-send-text"), session === null ? "Call" : "Answer");
  $("ussd-end").disabled = session === null;
  $("ussd-input").placeholder = session === null ? lastCode : "Your answer";
  showTalkLines($("steps"), steps.map((step) => ({
    id: step.id, text: step.text, at: step.at, note: step.direction === "note", out: step.direction === "out", failed: false, notes: [],
  })));
  showTalkLines($("texts"), texts.map((text) => ({
    id: text.id, text: text.text, at: text.at, out: text.direction === "out", failed: text.error !== null,
    notes: [...costOf(text), ...(text.error === null ? [] : [[text.error, "failed"]])],
    again: text.error === null ? null : () => sendSms(text.text),
  })));
  showUnread(texts);
}

// What came by SMS says what it costs, where that is more than one.
function costOf(text) {
  const { parts } = smsLength(text.text);
  return text.direction === "in" && parts > 1 ? [[`${parts} SMS`, "costs"]] : [];
}

const received = (texts) => texts.filter((text) => text.direction === "in").length;

// What had come before the page was opened is not new.
export function allIsSeen() {
  for (const [who, one] of state.phones) seen.set(who, received(one.texts));
}

// The tab says how many SMS came while it was not looked at.
function showUnread(texts) {
  const come = received(texts);
  if (!$("sms").hidden) seen.set(person(number()), come);
  const unread = Math.max(0, come - (seen.get(person(number())) || 0));
  $("unread").hidden = unread === 0;
  setText($("unread"), `${unread} new`);
}

export function listNumbers() {
  const known = [...state.phones.values()].map((one) => one.number);
  if ($("numbers").dataset.known === String(known)) return;
  $("numbers").dataset.known = String(known);
  $("numbers").replaceChildren(...known.map((one) => element("option", { value: one })));
}

async function sendUssd() {
  if (!checkNumber()) return;
  const { session } = phone();
  const text = $("ussd-input").value.trim() || (session === null ? lastCode : "");
  const dialling = session === null || isCode(text);
  $("ussd-input").value = "";
  const error = await attempt("phone-problem", () => (
    dialling ? call("POST", path("dial"), { code: text }) : call("POST", path("answer"), { text })));
  if (error && !$("ussd-input").value) $("ussd-input").value = text;
  if (!error && dialling) lastCode = text;
}

// What the broker has not taken stays in the log, with a way to send it again; else the text goes back to where it was written.
async function sendSms(text) {
  if (!checkNumber()) return;
  const error = await attempt("phone-problem", () => call("POST", path("sms"), { text }));
  if (error && error.status !== 503 && !$("sms-input").value) $("sms-input").value = text;
}

function setUpKeypad() {
  for (const key of "123456789*0#") {
    $("keypad").append(element("button", { type: "button", onclick: () => { $("ussd-input").value += key; } }, key));
  }
  $("ussd-back").addEventListener("click", () => { $("ussd-input").value = $("ussd-input").value.slice(0, -1); });
}

export function setUpPhone() {
  for (const id of ["steps", "texts"]) staysAtEnd($(id));
  setUpKeypad();
  tabs($("ways"), showPhone);
  $("ussd-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sendUssd();
    // Not where a finger presses the buttons: the screen's keyboard would come up.
    if (matchMedia("(hover: hover)").matches) $("ussd-input").focus();
  });
  $("ussd-end").addEventListener("click", () => {
    $("ussd-input").focus();
    attempt("phone-problem", () => call("POST", path("hangup"), {}));
  });
  $("sms-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("sms-input").value;
    $("sms-input").value = "";
    sendSms(text);
  });
}
