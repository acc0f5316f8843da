// What all parts of the page share: what is known, the API, and which number is shown.

import { jsonApi } from "./design/parts.js";

export const $ = (id) => document.getElementById(id);

export const state = {
  setup: {}, phones: new Map(), conversations: new Map(), messages: new Map(), lines: [], faults: {}, health: null,
};

export const call = jsonApi("api/");

// Do something, and say in an element what was wrong; the error, or null where it worked.
export async function attempt(problemId, work) {
  $(problemId).textContent = "";
  try {
    await work();
    return null;
  } catch (error) {
    $(problemId).textContent = error.message;
    return error;
  }
}

// What was wrong before is not wrong now: the server is back, or everything was reset.
export function clearProblems() {
  for (const problem of document.querySelectorAll(".problem")) problem.textContent = "";
}

// The number that the page shows: of its phone, and of Turn's conversation.
export const number = () => $("number").value.trim();

// An address is the same person's with and without its +.
export const person = (address) => String(address).replace(/^\+/, "");

export const isNumber = (text) => /^\+?[0-9]{3,15}$/.test(text);

// What was begun to be written to one number stays that number's.
const drafts = new Map();
let shown = null;
const FIELDS = ["ussd-input", "sms-input", "turn-input"];

export function changeDrafts() {
  const now = person(number());
  if (shown === now) return;
  if (shown !== null) drafts.set(shown, FIELDS.map((id) => $(id).value));
  const kept = drafts.get(now) || ["", "", ""];
  FIELDS.forEach((id, index) => { $(id).value = kept[index]; });
  shown = now;
}

export const short = (id) => (id.length > 12 ? `${id.slice(0, 8)}…` : id);

// A list that was at its end when it was last seen is there again when it is seen anew: out of sight it has no place.
export function staysAtEnd(list) {
  let there = true;
  list.addEventListener("scroll", () => { if (list.clientHeight) there = list.scrollHeight - list.scrollTop - list.clientHeight < 60; });
  new ResizeObserver(() => { if (there) list.scrollTop = list.scrollHeight; }).observe(list);
}

// Only one line of a list is reached by Tab; the arrow keys lead to the others.
export function roving(list) {
  const buttons = () => [...list.querySelectorAll(":scope > li > button")];
  list.addEventListener("keydown", (event) => {
    const all = buttons();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined || !all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
  list.addEventListener("focusin", (event) => {
    if (event.target.parentElement.parentElement === list) reach(list, event.target);
  });
}

function reach(list, chosen) {
  for (const button of list.querySelectorAll(":scope > li > button")) button.tabIndex = button === chosen ? 0 : -1;
}

// After a list has changed: the newest line is reached, unless another one is.
export function keepReachable(list) {
  const all = list.querySelectorAll(":scope > li > button");
  if (all.length && ![...all].some((button) => button.tabIndex === 0)) all[all.length - 1].tabIndex = 0;
  for (const button of all) if (button.tabIndex !== 0) button.tabIndex = -1;
  const focused = document.activeElement;
  if (all.length && !list.contains(focused)) reach(list, all[all.length - 1]);
}

// What a line opens to is looked at, as far as there is room below the line itself.
export function seeOpened(item) {
  item.scrollIntoView({ block: "nearest" });
  item.firstElementChild.scrollIntoView({ block: "nearest" });
}

// Other words are searched for: each line is made anew, to mark them.
export function markAnew(list, words) {
  if ((list.dataset.words || "") === words) return;
  list.dataset.words = words;
  for (const child of list.children) child.said = null;
}
