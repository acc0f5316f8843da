// What keys do: to the search, from row to row, and back from what a row led to.

import { shortcuts } from "../design/parts.js";
import { $ } from "./common.js";

const OFF = "vumi_turn operator keys off";
const FIELDS = { channels: "channel-search", parked: "filter-reason", trace: "trace-query" };

let opened = null; // the words of the row that led away
let awaited = false; // it gets the focus once it is shown again

const isOff = () => { try { return localStorage.getItem(OFF) === "yes"; } catch { return false; } };
const remember = (off) => { try { localStorage.setItem(OFF, off ? "yes" : ""); } catch { /* for this page only */ } };

// The first thing to press of each row of the table that is shown.
function leads() {
  const table = [...document.querySelectorAll(".table")].find((one) => one.offsetParent !== null);
  return table ? [...table.querySelectorAll("tbody td.lead button")] : [];
}

// From the row that has the focus to the next; arrow keys scroll the page unless they begin in a row.
function move(by, begins) {
  const all = leads(), row = document.activeElement.closest("tbody tr");
  const at = row ? all.findIndex((one) => row.contains(one)) : -1;
  if (!all.length || (at < 0 && !begins)) return false;
  const to = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  all[to].focus();
  return true;
}

// After Escape the row that led away has the focus again.
function focusOpened() {
  const lead = awaited && leads().find((one) => one.textContent === opened);
  if (!lead) return;
  awaited = false;
  lead.focus();
}

// view() is the name of the view, and of what it shows; back() leaves that, and says whether there was something to leave.
export function setUpKeys(view, back) {
  $("keys").checked = !isOff();
  $("keys").addEventListener("change", () => remember(!$("keys").checked));
  const key = (act) => () => ($("keys").checked ? act() : false);
  document.addEventListener("click", ({ target }) => {
    awaited = false;
    const lead = target.closest("td.lead button");
    if (lead) opened = lead.textContent;
  }, true);
  document.addEventListener("rows", focusOpened);
  addEventListener("hashchange", focusOpened);
  shortcuts({
    "/": key(() => {
      const field = $(FIELDS[view()]);
      if (!field) return false;
      field.focus();
      field.select();
      return true;
    }),
    j: key(() => move(1, true)), k: key(() => move(-1, true)),
    ArrowDown: () => move(1, false), ArrowUp: () => move(-1, false),
    Escape: () => {
      awaited = back();
      return awaited;
    },
  });
}
