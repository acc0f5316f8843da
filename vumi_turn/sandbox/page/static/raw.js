// Everything that passed: a line for each AMQP message and each HTTP request and answer.

import { copyText, element, exactTime, icon, marked, showList } from "./design/parts.js";
import { $, keepReachable, markAnew, seeOpened, state } from "./common.js";
import { filter, isBad } from "./filter.js";
import { grown, openView } from "./traffic.js";

const KEEP = 500;
const SHOWN = 80; // characters of a text in a line
const NAMES = { turn: "Turn", page: "page", worker: "worker", network: "network" };

export const linesShown = () => state.lines.filter((line) => filter.line(line));

export function addLine(line) {
  state.lines.push(line);
  if (state.lines.length > KEEP) state.lines.shift();
  if (!filter.paused && !$("view-raw").hidden) showLines();
}

export function showLines() {
  const list = $("lines");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const before = list.children.length;
  markAnew(list, filter.words);
  showList(list, linesShown(), (line) => String(line.number), make, fill);
  keepReachable(list);
  if (list.children.length > before) grown(list, atEnd);
  const none = list.children.length === 0;
  list.hidden = none;
  $("lines-empty").hidden = !none;
  const text = state.lines.length ? "No line is left by this search, or all were cleared." : "Each message and each request becomes a line here. A line opens to its JSON and headers.";
  if (none) $("lines-empty").replaceChildren(icon("list"), element("p", {}, text));
}

// Who hands what to whom, and how that ended.
function summaryOf(line) {
  const who = NAMES[line.who] || line.who;
  if (line.protocol === "amqp") {
    return {
      publish: [`${who} → ${line.where}`, ""],
      deliver: [`${line.where} → ${who}`, line.redelivered ? "redelivered" : ""],
      ack: [`${who} has settled ${line.where}`, "ack"],
      requeue: [`${who} gives back to ${line.where}`, "requeue"],
      refused: [`${who} → ${line.where}`, "not taken"],
    }[line.what];
  }
  const other = line.who === "turn" ? "worker" : "Turn";
  if (line.what === "request") return [`${who} → ${other} ${line.where}`, ""];
  return [`${who} ← ${other} ${line.where}`, line.status === null ? line.reason || "no answer" : String(line.status)];
}

// The few words that tell one line from the next.
function gistOf(body) {
  if (!body || typeof body !== "object") return "";
  const quoted = (text) => (text ? `“${text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text}”` : "");
  if (body.message_type === "event") return body.delivery_status || body.event_type;
  if (body.message_type === "failure_message") return body.failure_code;
  if (body.message_type === "user_message") return [body.session_event, quoted(body.content)].filter(Boolean).join(" ");
  if (body.status && body.status.status) return body.status.status;
  if (body.message && body.message.text) return quoted(body.message.text.body);
  if (body.message && body.message.interactive) return "choice";
  if (body.errors && body.errors[0]) return body.errors[0].details || "";
  return typeof body.content === "string" ? quoted(body.content) : "";
}

function make() {
  const item = element("li");
  const button = element("button", { type: "button", class: "line", "aria-expanded": "false", tabindex: "-1" });
  button.addEventListener("click", () => {
    const open = item.classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
    if (open) {
      item.append(openedLine(item.line));
      seeOpened(item);
    }
    else item.lastElementChild.remove();
  });
  item.append(button);
  return item;
}

function fill(item, line) {
  item.line = line;
  const [what, result] = summaryOf(line);
  const gist = gistOf(line.body);
  item.firstElementChild.replaceChildren(
    element("span", { class: "at" }, exactTime(line.at)),
    element("span", { class: `badge ${line.protocol === "amqp" ? "info" : ""}` }, line.protocol.toUpperCase()),
    element("span", { class: "what" }, ...marked(what, filter.words), gist ? element("span", { class: "soft" }, ...marked(` · ${gist}`, filter.words)) : ""),
    element("span", { class: `result ${isBad(line) ? "bad" : "good"}` }, result),
  );
}

function openedLine(line) {
  const box = element("div", { class: "opened" });
  const part = (title, ...what) => box.append(element("h3", {}, title), ...what);
  if (line.ids.length) {
    part("Only the lines of", element("div", { class: "row wraps" }, ...line.ids.map((id) => element("button", { type: "button", class: "link mono", onclick: () => openView("tab-raw", { words: id }) }, id))));
  }
  if (line.reason) part("Reason", element("pre", {}, line.reason));
  if (line.headers) part("Headers", element("pre", {}, Object.entries(line.headers).map(([name, value]) => `${name}: ${value}`).join("\n")));
  if (line.body !== undefined) part("Body", element("pre", {}, typeof line.body === "string" ? line.body : JSON.stringify(line.body, null, 2)));
  box.append(element("button", { type: "button", class: "quiet", onclick: () => copyText(JSON.stringify(line, null, 2), "The line as JSON") }, icon("copy"), "Copy as JSON"));
  return box;
}
