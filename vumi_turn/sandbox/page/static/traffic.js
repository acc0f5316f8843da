// The wire: a line for each AMQP message and each HTTP request and response.

import { $, element, exactTime, setText, short, state } from "./common.js";

const KEEP = 500;
const GOOD = "good", BAD = "bad", PLAIN = "plain";
const SHOWN = 60; // characters of a text in a line

const NAMES = { turn: "Turn", replay: "replay", worker: "worker", network: "network" };
const nameOf = (who) => NAMES[who] || who;

// Who hands what to whom, and how that ended.
function summaryOf(line) {
  return line.protocol === "amqp" ? amqpSummary(line) : httpSummary(line);
}

function amqpSummary(line) {
  const who = nameOf(line.who);
  const redelivered = line.redelivered ? ["redelivered", PLAIN] : null;
  return {
    publish: { parts: [`${who} → `, line.where], result: null },
    deliver: { parts: ["", line.where, ` → ${who}`], result: redelivered },
    ack: { parts: [`${who} has settled `, line.where], result: ["ack", GOOD] },
    requeue: { parts: [`${who} gives back to `, line.where], result: ["requeue", BAD] },
    refused: { parts: [`${who} → `, line.where], result: ["not taken", BAD] },
  }[line.what];
}

function httpSummary(line) {
  const other = line.who === "turn" ? "worker" : "Turn";
  const arrow = line.what === "request" ? "→" : "←";
  const parts = [`${nameOf(line.who)} ${arrow} ${other} `, line.where];
  if (line.what === "request") return { parts, result: null };
  if (line.status === null) return { parts, result: [line.reason || "no answer", BAD] };
  return { parts, result: [String(line.status), line.status < 300 ? GOOD : BAD] };
}

// The few words that tell one line from the next.
function gistOf(body) {
  if (!body || typeof body !== "object") return "";
  const quoted = (text) => (text ? `“${text.length > SHOWN ? text.slice(0, SHOWN) + "…" : text}”` : "");
  if (body.message_type === "event") return body.delivery_status || body.event_type;
  if (body.message_type === "failure_message") return body.failure_code;
  if (body.message_type === "user_message") return [body.session_event, quoted(body.content)].filter(Boolean).join(" ");
  if (body.status && body.status.status) return body.status.status;
  if (body.message && body.message.text) return quoted(body.message.text.body);
  if (body.errors && body.errors[0]) return body.errors[0].details || "";
  return typeof body.content === "string" ? quoted(body.content) : "";
}

function lineElement(line) {
  const item = element("li");
  const details = element("details");
  const summary = element("summary");
  const { parts, result } = summaryOf(line);
  const what = element("span", undefined, "what");
  const [before, where, after = ""] = parts;
  what.append(element("span", before, "how"), where, element("span", after, "how"));
  const gist = gistOf(line.body);
  if (gist) what.append(element("span", ` · ${gist}`, "gist"));
  summary.append(element("span", exactTime(line.at), "at"), element("span", line.protocol.toUpperCase(), "tag " + line.protocol), what);
  if (result) summary.append(element("span", result[0], "result " + result[1]));
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(openedElement(line));
  });
  item.append(details);
  return item;
}

function openedElement(line) {
  const opened = element("div", undefined, "opened");
  if (line.ids.length) {
    const ids = element("div", undefined, "ids");
    for (const id of line.ids) ids.append(idButton(id, id));
    opened.append(element("h3", "Only the lines of"), ids);
  }
  if (line.reason) opened.append(element("h3", "Reason"), element("pre", line.reason));
  if (line.headers) {
    const headers = Object.entries(line.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
    opened.append(element("h3", "Headers"), element("pre", headers));
  }
  if (line.body !== undefined) {
    const text = typeof line.body === "string" ? line.body : JSON.stringify(line.body, null, 2);
    opened.append(element("h3", "Body"), element("pre", text));
  }
  return opened;
}

// A button that leaves only one message's lines on the wire.
export function idButton(id, text) {
  const button = element("button", text || short(id));
  button.type = "button";
  button.dataset.id = id;
  button.title = `Show only ${id} on the wire`;
  button.setAttribute("aria-label", `Only ${id} on the wire`);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    $("wire-message").value = id;
    filterWire();
    $("wire").scrollIntoView({ block: "nearest" });
  });
  return button;
}

function wanted(line) {
  const id = $("wire-message").value.trim();
  const protocol = $("wire-protocol").value;
  return (!id || line.ids.some((one) => one.startsWith(id))) && (!protocol || line.protocol === protocol);
}

function showEmpty() {
  const none = $("lines").children.length === 0;
  $("wire-empty").hidden = !none;
  setText($("wire-empty"), state.lines.length
    ? "No line is left by this choice."
    : "Press Call, or send an SMS: each message and each request becomes a line here. A line opens to its JSON and headers.");
}

export function addLine(line) {
  state.lines.push(line);
  if (state.lines.length > KEEP) state.lines.shift();
  if (!wanted(line)) return;
  const list = $("lines");
  const top = list.scrollTop;
  const item = lineElement(line);
  item.className = "new";
  list.prepend(item);
  // Who reads further down is not moved.
  if (top > 0) list.scrollTop = top + item.offsetHeight;
  while (list.children.length > KEEP) list.lastElementChild.remove();
  showEmpty();
}

export function filterWire() {
  $("lines").replaceChildren(...state.lines.filter(wanted).reverse().map(lineElement));
  $("lines").scrollTop = 0;
  $("wire").classList.toggle("filtered", Boolean($("wire-message").value.trim() || $("wire-protocol").value));
  showEmpty();
}

export function setUpWire() {
  $("wire-message").addEventListener("input", filterWire);
  $("wire-protocol").addEventListener("change", filterWire);
  $("wire-filter").addEventListener("submit", (event) => event.preventDefault());
  $("wire-filter").addEventListener("reset", () => setTimeout(filterWire));
}
