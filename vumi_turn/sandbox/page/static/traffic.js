// The middle of the page: its views, the search and chips above them, pause, clear and copy.

import { copyText, setText, tabs } from "./design/parts.js";
import { $, roving, state, staysAtEnd } from "./common.js";
import { messagesShown, showMessages } from "./messages.js";
import { linesShown, showLines } from "./raw.js";
import { filter } from "./filter.js";

const VIEWS = { "tab-messages": ["in", "out", "errors"], "tab-raw": ["amqp", "http", "errors"], "tab-parked": [], "tab-counters": [] };
const LISTS = { "tab-messages": "messages", "tab-raw": "lines" };

let view = "tab-messages";

function chooseView(id) {
  view = id;
  $("traffic").dataset.view = id;
  $("tools").hidden = $("list-tools").hidden = !VIEWS[id].length;
  for (const chip of document.querySelectorAll("[data-chip]")) chip.hidden = !VIEWS[id].includes(chip.dataset.chip);
  redraw();
  toEnd();
}

function redraw() {
  if (view === "tab-messages") showMessages();
  if (view === "tab-raw") showLines();
}

const listNow = () => LISTS[view] && $(LISTS[view]);

function toEnd() {
  const list = listNow();
  if (list) list.scrollTop = list.scrollHeight;
  $("latest").hidden = true;
}

// Called when a list has grown: who is at its end stays there, who reads further up is told.
export function grown(list, wasAtEnd) {
  if (list !== listNow()) return;
  if (wasAtEnd) toEnd();
  else $("latest").hidden = false;
}

export function showAllTraffic() {
  filter.forget();
  redraw();
  toEnd();
}

function setPaused(paused) {
  filter.paused = paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  setText($("pause-text"), paused ? "Paused" : "Pause");
  if (!paused) {
    redraw();
    toEnd();
  }
}

function clear() {
  const last = state.lines[state.lines.length - 1];
  filter.afterLine = last ? last.number : 0;
  filter.afterMessage = Math.max(0, ...[...state.messages.values()].map((one) => one.number));
  redraw();
}

export function setUpTraffic() {
  tabs($("views"), chooseView)("tab-messages");
  for (const id of Object.values(LISTS)) {
    const list = $(id);
    roving(list);
    staysAtEnd(list);
    list.addEventListener("scroll", () => {
      if (list.scrollHeight - list.scrollTop - list.clientHeight < 40) $("latest").hidden = true;
    });
  }
  $("latest").addEventListener("click", toEnd);
  $("search").addEventListener("input", () => { filter.words = $("search").value.trim().toLowerCase(); redraw(); });
  for (const chip of document.querySelectorAll("[data-chip]")) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(on));
      filter.chips[on ? "add" : "delete"](chip.dataset.chip);
      redraw();
    });
  }
  $("pause").addEventListener("click", () => setPaused(!filter.paused));
  $("clear").addEventListener("click", clear);
  $("copy-all").addEventListener("click", () => {
    const shown = view === "tab-messages" ? messagesShown() : linesShown();
    copyText(JSON.stringify(shown, null, 2), view === "tab-messages" ? "Messages as JSON" : "Lines as JSON");
  });
}

// Show a view with a search, from a link elsewhere on the page.
export function openView(id, { words = "", chips = [] } = {}) {
  $("search").value = words;
  filter.words = words.toLowerCase();
  filter.chips = new Set(chips);
  filter.afterLine = filter.afterMessage = 0;
  for (const chip of document.querySelectorAll("[data-chip]")) chip.setAttribute("aria-pressed", String(filter.chips.has(chip.dataset.chip)));
  $(id).click();
}
