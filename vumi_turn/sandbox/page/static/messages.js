// One row for each message, which opens to what happened to it.

import { clockTime, copyText, duration, element, exactTime, icon, plural, setText, showList } from "./design/parts.js";
import { $, keepReachable, state } from "./common.js";
import { curlOf } from "./curl.js";
import { filter } from "./filter.js";
import { grown, openView } from "./traffic.js";
import { showPart } from "./nav.js";

const KEEP = 200;
const PLACES = { network: "Phone network", broker: "Broker", worker: "Worker", turn: "Turn", parked: "Parked", page: "Parked", nobody: "–" };
const place = (name) => PLACES[name] || name;

export const messagesShown = () => [...state.messages.values()].sort((a, b) => a.number - b.number).filter((one) => filter.message(one));

export function showMessage(one) {
  if (one.gone) state.messages.delete(one.key);
  else state.messages.set(one.key, one);
  while (state.messages.size > KEEP) state.messages.delete(state.messages.keys().next().value);
  if (!one.gone && one.hops.length) showStrip(one);
  if (!filter.paused) showMessages();
}

export function showMessages() {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const before = list.children.length;
  showList(list, messagesShown(), (one) => String(one.number), make, fill);
  keepReachable(list);
  if (list.children.length > before) grown(list, atEnd);
  showEmpty(list);
}

function showEmpty(list) {
  const none = list.children.length === 0;
  list.hidden = none;
  $("messages-empty").hidden = !none;
  if (!none) return;
  const text = state.messages.size
    ? "No message is left by this search, or all were cleared."
    : "Press Call, or send an SMS: each message becomes a line here, which opens to what happened to it.";
  $("messages-empty").replaceChildren(icon("message"), element("p", {}, text));
}

// The latest hop, for screens on which this list is not beside the phone.
function showStrip(one) {
  const hop = one.hops.reduce((latest, each) => (each.last_at >= latest.last_at ? each : latest));
  setText($("strip-text"), `${clockTime(hop.last_at)} ${place(hop.source)} → ${place(hop.target)}: ${hop.what}${hop.result ? ` ${hop.result}` : ""}`);
}

function make() {
  const item = element("li");
  const button = element("button", { type: "button", class: "line", "aria-expanded": "false", tabindex: "-1" });
  button.addEventListener("click", () => toggle(item));
  item.append(button);
  return item;
}

function toggle(item, open = !item.classList.contains("open")) {
  item.classList.toggle("open", open);
  item.firstElementChild.setAttribute("aria-expanded", String(open));
  if (open) item.append(opened(item.one));
  else while (item.children.length > 1) item.lastElementChild.remove();
}

function fill(item, one) {
  item.one = one;
  item.className = [one.direction, item.classList.contains("open") ? "open" : ""].join(" ").trim();
  const incoming = one.direction === "in";
  item.firstElementChild.replaceChildren(
    element("span", { class: "at" }, clockTime(one.at)),
    icon(incoming ? "arrow-right" : "arrow-left"),
    element("span", { class: "unseen" }, incoming ? "from" : "to"),
    element("span", { class: "who" }, one.person || "?"),
    element("span", { class: "what" }, ...gist(one)),
    element("span", { class: `state ${one.outcome.tone}` }, one.outcome.text),
    element("span", { class: "tries" }, one.tries > 1 ? plural(one.tries, "try", "tries") : ""),
    element("span", { class: "ms" }, one.seconds === null ? "" : duration(one.seconds)),
  );
  if (item.classList.contains("open")) {
    const focused = item.querySelector(".opened")?.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    item.lastElementChild.replaceWith(opened(one));
    if (focused) item.querySelector(`[data-act=${focused}]`)?.focus();
  }
}

function gist(one) {
  const text = one.text === null ? { new: "dials", close: "ends the session" }[one.session] || "nothing" : `“${one.text}”`;
  const more = one.session === "new" && one.text === null ? ` ${one.service}` : "";
  const chosen = one.text !== null && one.direction === "in" && one.said_to_turn ? element("span", { class: "soft" }, ` chose ${one.said_to_turn}`) : null;
  return [element("span", one.text === null ? { class: "soft" } : {}, text + more), chosen, one.transport ? element("small", {}, one.transport) : null].filter(Boolean);
}

function opened(one) {
  const box = element("div", { class: "opened" });
  const facts = [];
  if (one.outcome.reason) facts.push(["Why", one.outcome.reason]);
  if (one.said_to_turn) facts.push(["Turn was told", one.said_to_turn]);
  if (one.shown) facts.push(["On the phone", one.shown]);
  if (one.session && one.direction === "out") facts.push(["Session", one.session === "close" ? "ends with it" : "goes on"]);
  if (one.id) facts.push(["Id", one.id]);
  const values = element("dl", { class: "values" });
  for (const [name, value] of facts) values.append(element("dt", {}, name), element("dd", name === "Id" ? { class: "mono" } : {}, value));
  box.append(values, element("ol", { class: "timeline" }, ...one.hops.map(hopItem)));
  box.append(element("div", { class: "row" },
    act("copy", "copy", "Copy as JSON", () => copyText(JSON.stringify(one, null, 2), "The message as JSON")),
    act("curl", "code", "Copy as curl", () => copyText(curlOf(one), "The request as curl")),
    one.id ? act("raw", "list", "Show in Raw", () => openView("tab-raw", { words: one.id })) : null));
  return box;
}

const act = (name, iconName, text, onclick) => element("button", { type: "button", class: "quiet", data: { act: name }, onclick }, icon(iconName), text);

function hopItem(hop) {
  const words = [element("b", {}, `${place(hop.source)} → ${place(hop.target)} `), hop.what];
  if (hop.result) words.push(" ", element("span", { class: `result ${hop.tone}` }, hop.result));
  if (hop.count > 1) words.push(element("span", { class: "soft" }, ` · ${plural(hop.count, "try", "tries")}`), nextTry(hop));
  if (hop.detail && hop.detail !== hop.result && !hop.what.includes(hop.detail)) words.push(element("span", { class: "soft" }, ` · ${hop.detail}`));
  const took = hop.seconds === null ? (hop.result === null ? "…" : "") : duration(hop.seconds);
  return element("li", { class: hop.tone }, element("span", {}, ...words.filter(Boolean)), element("span", { class: "at" }, `${exactTime(hop.last_at)}${took ? ` · ${took}` : ""}`));
}

// Retries are folded into one hop; the next one's time is known only for what waits now.
function nextTry(hop) {
  const next = state.health && state.health.next_try;
  if (hop.tone !== "bad" || hop.target !== "turn" || !next) return null;
  const seconds = Math.max(0, Math.ceil(next - Date.now() / 1000));
  return element("span", { class: "soft" }, `, next in ${seconds} s`);
}

// From a bubble to its message.
export function showInMessages(id) {
  showPart("messages");
  openView("tab-messages");
  const item = [...$("messages").children].find((one) => one.one.id === id);
  if (!item) return;
  toggle(item, true);
  item.scrollIntoView({ block: "nearest" });
  item.firstElementChild.focus();
}
