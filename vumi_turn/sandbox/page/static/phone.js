// The phone: what it shows, and what a person does with it.

import { $, attempt, call, element, number, person, setText, state } from "./common.js";
import { showBubbles } from "./bubbles.js";
import { showTalk } from "./turn.js";

const FIRST_CODE = "*120*8864#";
const seen = new Map(); // how many texts of each phone were looked at

const phone = () => state.phones.get(person(number())) || { screen: null, session: null, texts: [] };
const isCode = (text) => /^\*[0-9*#]+#$/.test(text);
const path = (action) => `phones/${encodeURIComponent(number())}/${action}`;

let lastCode = FIRST_CODE;

export function showPhone() {
  const { screen, session, texts } = phone();
  const waiting = session !== null && session.waiting;
  const closed = session === null && screen !== null;
  setText($("session"), session === null ? (closed ? "Session closed" : "No session") : `Session open on ${session.code}`);
  setText($("screen"), waiting ? "Waiting for the service…" : screen || (session ? "" : `Press Call to dial ${lastCode}`));
  $("display").className = session === null ? "" : "open";
  setText($("ussd-send"), session === null ? "Call" : "Answer");
  $("ussd-end").disabled = session === null;
  $("ussd-input").placeholder = session === null ? lastCode : "Your answer";
  showBubbles($("sms-log"), texts.map((text) => ({
    id: text.id, text: text.text, at: text.at, out: text.direction === "out", failed: text.error !== null,
    notes: text.error === null ? [] : [[text.error, "failed"]],
  })));
  showUnread(texts);
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
  setText($("tab-sms"), unread ? `SMS (${unread} new)` : "SMS");
}

export function listNumbers() {
  const known = [...state.phones.values()].map((one) => one.number);
  if ($("numbers").dataset.known === String(known)) return;
  $("numbers").dataset.known = String(known);
  $("numbers").replaceChildren(...known.map((one) => {
    const option = element("option");
    option.value = one;
    return option;
  }));
}

function chooseTab(name) {
  for (const tab of ["ussd", "sms"]) {
    const chosen = tab === name;
    $(tab).hidden = !chosen;
    $("tab-" + tab).setAttribute("aria-selected", String(chosen));
    $("tab-" + tab).tabIndex = chosen ? 0 : -1;
  }
  $("sms-log").scrollTop = $("sms-log").scrollHeight;
  showPhone();
}

async function sendUssd() {
  const { session } = phone();
  const text = $("ussd-input").value.trim() || (session === null ? lastCode : "");
  const dialling = session === null || isCode(text);
  $("ussd-input").value = "";
  const worked = await attempt("phone-error", () => (
    dialling ? call("POST", path("dial"), { code: text }) : call("POST", path("answer"), { text })));
  if (!worked && !$("ussd-input").value) $("ussd-input").value = text;
  if (worked && dialling) lastCode = text;
}

async function sendSms() {
  const text = $("sms-input").value;
  $("sms-input").value = "";
  const worked = await attempt("phone-error", () => call("POST", path("sms"), { text }));
  if (!worked && !$("sms-input").value) $("sms-input").value = text;
}

function setUpKeypad() {
  for (const key of "123456789*0#") {
    const button = element("button", key);
    button.type = "button";
    button.addEventListener("click", () => { $("ussd-input").value += key; });
    $("keypad").append(button);
  }
  $("ussd-back").addEventListener("click", () => { $("ussd-input").value = $("ussd-input").value.slice(0, -1); });
}

function setUpTabs() {
  for (const [name, other] of [["ussd", "sms"], ["sms", "ussd"]]) {
    $("tab-" + name).addEventListener("click", () => chooseTab(name));
    $("tab-" + name).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      chooseTab(other);
      $("tab-" + other).focus();
    });
  }
}

export function setUpPhone() {
  setUpKeypad();
  setUpTabs();
  $("number").addEventListener("input", () => { showPhone(); showTalk(); });
  $("ussd-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sendUssd();
    // Not where a finger presses the buttons: the screen's keyboard would come up.
    if (matchMedia("(hover: hover)").matches) $("ussd-input").focus();
  });
  $("ussd-end").addEventListener("click", () => {
    $("ussd-input").focus();
    attempt("phone-error", () => call("POST", path("hangup"), {}));
  });
  $("sms-form").addEventListener("submit", (event) => { event.preventDefault(); sendSms(); });
}
