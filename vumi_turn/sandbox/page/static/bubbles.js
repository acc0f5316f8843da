// A conversation as bubbles, on the phone and at Turn.

import { element, time } from "./common.js";
import { idButton } from "./traffic.js";

// Only what has changed is made anew, so that the focus stays and a screen reader says only what is new.
export function showBubbles(list, entries) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  let changed = false;
  entries.forEach((entry, index) => {
    const said = JSON.stringify(entry);
    const item = list.children[index];
    if (item && item.dataset.said === said) return;
    changed = true;
    if (item && item.dataset.of === keyOf(entry)) fill(item, entry);
    else if (item) item.replaceWith(fill(element("li"), entry));
    else list.append(fill(element("li"), entry));
  });
  while (list.children.length > entries.length) {
    changed = true;
    list.lastElementChild.remove();
  }
  if (changed && atEnd) list.scrollTop = list.scrollHeight;
}

const keyOf = (entry) => `${entry.at} ${entry.text}`;

function fill(item, entry) {
  item.dataset.said = JSON.stringify(entry);
  item.dataset.of = keyOf(entry);
  item.className = [entry.out ? "out" : "", entry.failed ? "failed" : ""].join(" ").trim();
  if (!item.firstChild) item.append(element("p", entry.text), element("small"));
  const note = item.lastElementChild;
  const button = note.querySelector("button");
  const parts = [element("span", time(entry.at)), ...entry.notes.map(([text, className]) => element("span", text, className))];
  if (button && button.dataset.id === entry.id) {
    while (note.firstChild !== button) note.firstChild.remove();
    note.prepend(...parts);
  } else {
    note.replaceChildren(...parts, ...(entry.id ? [idButton(entry.id, "wire")] : []));
  }
  return item;
}
