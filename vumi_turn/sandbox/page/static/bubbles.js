// A conversation, line by line: bubbles of what was said, and notes of what happened to a session.

import { clockTime, element, icon } from "./design/parts.js";
import { showShape } from "./shapes.js";
import { showInMessages } from "./messages.js";

// Only what has changed is made anew, so that the focus stays and a screen reader says only what is new.
export function showTalkLines(list, entries) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  let changed = false;
  entries.forEach((entry, index) => {
    const said = JSON.stringify(entry);
    const item = list.children[index];
    if (item && item.dataset.said === said) return;
    changed = true;
    if (item && item.dataset.of === keyOf(entry)) fill(item, entry, said);
    else if (item) item.replaceWith(fill(element("li"), entry, said));
    else list.append(fill(element("li"), entry, said));
  });
  while (list.children.length > entries.length) {
    changed = true;
    list.lastElementChild.remove();
  }
  if (changed && atEnd) list.scrollTop = list.scrollHeight;
}

const keyOf = (entry) => `${entry.at} ${entry.text}`;

function fill(item, entry, said) {
  item.dataset.said = said;
  item.dataset.of = keyOf(entry);
  item.className = entry.note ? "note" : ["bubble", entry.out ? "out" : "", entry.failed ? "failed" : ""].filter(Boolean).join(" ");
  if (entry.note) {
    item.replaceChildren(element("span", {}, entry.text), element("small", {}, clockTime(entry.at)));
    return item;
  }
  if (!item.firstChild) item.append(showShape(entry.shape, entry.text), element("small"));
  const note = item.lastElementChild;
  const kept = note.querySelector("button[data-id]");
  const parts = [element("span", {}, clockTime(entry.at)), ...entry.notes.map(([text, tone]) => element("span", { class: tone }, text))];
  const buttons = [kept && kept.dataset.id === entry.id ? kept : traceButton(entry.id), againButton(entry.again)];
  const focused = document.activeElement;
  note.replaceChildren(...parts, ...buttons.filter(Boolean));
  if (focused === kept && note.contains(kept)) kept.focus();
  return item;
}

// To what the message went through. Not a stop of Tab: there may be hundreds, and the list of messages is one stop.
function traceButton(id) {
  if (!id) return null;
  return element("button", { type: "button", class: "quiet only-icon", tabindex: "-1", "aria-label": "Show in Messages", title: "Show in Messages", data: { id }, onclick: () => showInMessages(id) }, icon("list"));
}

function againButton(again) {
  return again ? element("button", { type: "button", class: "link", onclick: again }, "Send again") : null;
}
