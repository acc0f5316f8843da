// What the views of the operator's page share.

import { element, icon, jsonApi, toast } from "../design/parts.js";

export const $ = (id) => document.getElementById(id);
export const api = jsonApi("api/");

const ICONS = { good: "check", info: "info", warn: "warning", bad: "failed" };

// One thing that there is to say of a channel: an icon for its kind, and words.
export const remark = ({ kind, text }) => element("p", { class: `remark ${kind}` }, icon(ICONS[kind]), element("span", {}, text));

export const quiet = (text, zero) => element("span", { class: zero ? "zero" : null }, text);
export const number = (value) => (value === undefined || value === null ? quiet("–", true) : quiet(String(value), value === 0));
export const rate = (value) => quiet(value >= 10 ? String(Math.round(value)) : value.toFixed(value && value < 1 ? 2 : 1), value === 0);

const TODAY = { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" };
const BEFORE = { ...TODAY, month: "short", day: "numeric" };

// A moment, in the reader's time zone; with its day where that is not today.
export function moment(seconds) {
  if (seconds === null) return "–";
  const then = new Date(seconds * 1000);
  const today = then.toDateString() === new Date().toDateString();
  return element("time", { datetime: then.toISOString(), title: then.toString() }, then.toLocaleString([], today ? TODAY : BEFORE));
}

// ---- changes, which need the password

let password = null; // known to this page only, until it is left

function askPassword(problem) {
  return new Promise((resolve) => {
    const field = element("input", { type: "password", id: "password", autocomplete: "current-password", required: true, "aria-describedby": "password-problem" });
    const form = element("form", { method: "dialog" },
      element("h2", { id: "password-title" }, "The operator's password"),
      element("label", { class: "field" }, "management_password of the worker's configuration", field),
      element("p", { class: "problem", id: "password-problem", role: "alert" }, problem),
      element("div", { class: "actions" },
        element("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        element("button", { type: "submit", class: "primary", value: "yes" }, "Go on")));
    const dialog = element("dialog", { "aria-labelledby": "password-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? field.value : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}

function basic(secret) {
  const bytes = new TextEncoder().encode(`operator:${secret}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

// POST something that changes what is there, telling begun() each time that it is sent, and over() where it was refused.
// Resolves to the answer, or to null where it was given up.
export async function change(path, body, begun, over) {
  let problem = "";
  for (;;) {
    if (password === null) password = await askPassword(problem);
    if (password === null) return null;
    let answer, value;
    begun();
    try {
      answer = await fetch(`api/${path}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: basic(password) },
        body: JSON.stringify(body),
        credentials: "omit",
      });
      value = await answer.json();
    } catch {
      toast("The worker does not answer. Look again before you repeat it.", { kind: "bad" });
      return null;
    }
    if (answer.ok) return value;
    over();
    if (answer.status === 401) {
      password = null;
      problem = "That is not the password.";
      continue;
    }
    toast(value.errors ? value.errors[0].details : `The worker answered ${answer.status}.`, { kind: "bad" });
    return null;
  }
}
