// One row for each message, which opens to what happened to it.

import { ago, clockTime, copyText, dateTime, duration, element, exactTime, icon, marked, plural, setText, showList } from "./design/parts.js";
import { $, keepReachable, markAnew, seeOpened, state } from "./common.js";
import { curlOf } from "./curl.js";
import { filter } from "./filter.js";
import { grown, openView } from "./traffic.js";
import { showPart } from "./nav.js";

const KEEP = 200;
const BEFORE = 20; // characters of a line that may stand before what is searched for
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
  markAnew(list, filter.words);
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
  if (open) {
    item.append(opened(item.one));
    seeOpened(item);
  }
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
    element("span", { class: "who" }, ...marked(one.person || "?", filter.words)),
    element("span", { class: "what" }, ...gist(one)),
    element("span", { class: `state ${one.outcome.tone}` }, one.outcome.text, triesOf(one)),
    element("span", { class: "ms" }, one.seconds === null ? "" : duration(one.seconds)),
  );
  if (item.classList.contains("open")) {
    const focused = item.querySelector(".opened")?.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    item.lastElementChild.replaceWith(opened(one));
    if (focused) item.querySelector(`[data-act=${focused}]`)?.focus();
  }
}

// Narrow, a state has no room for them: they stand with the text.
const triesOf = (one) => (one.tries > 1 ? element("span", { class: "tries" }, ` · ${plural(one.tries, "try", "tries")}`) : null);

function gist(one) {
  const text = one.text === null ? { new: "dials", close: "ends the session" }[one.session] || "nothing" : `“${one.text}”`;
  const more = one.session === "new" && one.text === null ? ` ${one.service}` : "";
  const chosen = one.text !== null && one.direction === "in" && one.said_to_turn ? element("span", { class: "soft" }, ` chose ${one.said_to_turn}`) : null;
  const said = whereFound(one, text + more) || element("span", one.text === null ? { class: "soft" } : {}, ...marked(fromHit(text + more), filter.words));
  return [said, chosen, one.transport ? element("small", {}, one.transport) : null, triesOf(one)].filter(Boolean);
}

// A text with what is searched for in sight, where that would be cut off.
function fromHit(text) {
  const at = filter.words ? text.toLowerCase().indexOf(filter.words) : -1;
  return at > BEFORE ? `…${text.slice(at - BEFORE / 2)}` : text;
}

// Where a message has what is searched for, if its line would not show that: instead of its text.
function whereFound(one, line) {
  const has = (text) => text && String(text).toLowerCase().includes(filter.words);
  if (!filter.words || [line, one.person, one.transport, one.said_to_turn, one.outcome.text].some(has)) return null;
  const [name, text] = [["on the phone", one.shown], ["why", one.outcome.reason], ["id", one.id]].find((each) => has(each[1])) || ["in its steps", ""];
  return element("span", {}, element("span", { class: "soft" }, text ? `${name}: ` : name), ...marked(fromHit(text), filter.words));
}

function opened(one) {
  const box = element("div", { class: "opened" });
  const facts = [], found = (text) => element("span", {}, ...marked(String(text), filter.words));
  if (one.outcome.reason) facts.push(["Why", found(one.outcome.reason)]);
  if (one.said_to_turn) facts.push(["Turn was told", found(one.said_to_turn)]);
  if (one.shown) facts.push(["On the phone", found(one.shown)]);
  if (one.session && one.direction === "out") facts.push(["Session", one.session === "close" ? "ends with it" : "goes on"]);
  facts.push(["Came", element("span", {}, `${dateTime(one.at)}, `, element("span", { data: { ago: one.at } }, ago(one.at)))]);
  if (one.id) facts.push(["Id", found(one.id)]);
  const values = element("dl", { class: "values" });
  for (const [name, value] of facts) values.append(element("dt", {}, name), element("dd", name === "Id" ? { class: "mono" } : {}, value));
  box.append(values, element("ol", { class: "timeline" }, ...one.hops.map((hop) => hopItem(hop, one))));
  box.append(element("div", { class: "row" },
    act("copy", "copy", "Copy as JSON", () => copyText(JSON.stringify(one, null, 2), "The message as JSON")),
    act("curl", "code", "Copy as curl", () => copyText(curlOf(one), "The request as curl")),
    one.id ? act("link", "link", "Copy link", () => copyText(linkOf(one.id), "The link")) : null,
    one.id ? act("raw", "list", "Show in Raw", () => openView("tab-raw", { words: one.id })) : null));
  return box;
}

const act = (name, iconName, text, onclick) => element("button", { type: "button", class: "quiet", data: { act: name }, onclick }, icon(iconName), text);

function hopItem(hop, one) {
  const words = [element("b", {}, `${place(hop.source)} → ${place(hop.target)} `), hop.what];
  if (hop.result) words.push(" ", element("span", { class: `result ${hop.tone}` }, hop.result));
  if (hop.count > 1) words.push(element("span", { class: "soft" }, ` · ${plural(hop.count, "try", "tries")}`));
  words.push(nextTry(hop, one));
  if (hop.detail && hop.detail !== hop.result && !hop.what.includes(hop.detail)) words.push(element("span", { class: "soft" }, ` · ${hop.detail}`));
  const took = hop.seconds === null ? (hop.result === null ? "…" : "") : duration(hop.seconds);
  return element("li", { class: hop.tone }, element("span", {}, ...words.filter(Boolean)), element("span", { class: "at" }, `${exactTime(hop.last_at)}${took ? ` · ${took}` : ""}`));
}

// Retries are folded into one hop; the next one's time is known of what waits now.
function nextTry(hop, one) {
  if (hop.tone !== "bad" || hop.target !== "turn" || !["warn", "info"].includes(one.outcome.tone)) return null;
  const until = nextTryOf(one);
  return until ? element("span", { class: "soft", data: { until } }, `, ${nextWords(until)}`) : null;
}

// A message's own pause, or else the probe for which all wait.
function nextTryOf(one) {
  if (!state.health) return null;
  const { components, next_try: probe, next_tries: own } = state.health;
  return own[one.id] || (components.turn && components.turn.state !== "ok" ? probe : null);
}

const nextWords = (until) => `next in ${Math.max(0, Math.ceil(until - Date.now() / 1000))} s`;

// What counts down, and what is said relative to now, every half second.
export function tick() {
  for (const node of document.querySelectorAll("#messages [data-until]")) setText(node, `, ${nextWords(Number(node.dataset.until))}`);
  for (const node of document.querySelectorAll("#messages [data-ago]")) setText(node, ago(Number(node.dataset.ago)));
}

// The moment of a next try comes with the worker's health, after the try itself.
export function showNextTries() {
  for (const item of $("messages").querySelectorAll(":scope > li.open")) if (item.one.outcome.tone === "warn") fill(item, item.one);
}

const linkOf = (id) => `${location.origin}${location.pathname}#message=${encodeURIComponent(id)}`;

// A link names a message; the page that is opened by it opens that.
export function followLink() {
  const found = /^#message=(.+)$/.exec(location.hash);
  if (found) showInMessages(decodeURIComponent(found[1]));
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
