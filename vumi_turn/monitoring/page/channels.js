// All channels, and one of them.

import { dataTable, duration, element, marked, plural, setText, showList } from "../design/parts.js";
import { $, api, moment, number, rate, remark } from "./common.js";

const ORDER = ["bad", "warn", "info", "good"];
const known = new Map();
let only = false, chosen = null, go = null, table = null, latest = null;

const columns = [
  { title: "Channel", class: "lead", cell: (one) => element("button", { type: "button", class: "link", onclick: () => go(`channel/${encodeURIComponent(one.connector)}`) }, ...marked(one.connector, one.wanted)) },
  { title: "State", cell: (one) => element("div", {}, ...one.remarks.map(remark)) },
  { title: "In /s", class: "number", cell: (one) => rate(one.rates.received) },
  { title: "Out /s", class: "number", cell: (one) => rate(one.rates.published) },
  { title: "Inbound", class: "number", cell: (one) => number(one.queues.inbound) },
  { title: "Events", class: "number", cell: (one) => number(one.queues.event) },
  { title: "Outbound", class: "number", cell: (one) => number(one.queues.outbound) },
  { title: "In hand", class: "number", cell: (one) => number(one.waiting) },
  { title: "Oldest", class: "number", cell: (one) => (one.oldest === null ? number(null) : duration(one.oldest)) },
  { title: "Parked", class: "number", cell: (one) => parkedLink(one) },
];

function parkedLink(one) {
  const count = one.queues.turn_failures;
  if (!count) return number(count);
  return element("button", { type: "button", class: "link", "aria-label": `${count} parked of ${one.connector}`, onclick: () => go(`parked?connector=${encodeURIComponent(one.connector)}`) }, String(count));
}

export function setUp(goTo) {
  go = goTo;
  table = dataTable($("channel-table"), columns, (one) => one.connector, "No channel matches.");
  table.loading();
  latest = dataTable($("latest-table"), [
    { title: "Message", class: "lead", cell: (one) => element("button", { type: "button", class: "link mono", onclick: () => go(`trace/${encodeURIComponent(one.id)}`) }, one.id) },
    { title: "When", class: "nowrap", cell: (one) => moment(one.steps[0].at) },
    { title: "Way", cell: (one) => (one.direction === "inbound" ? "to Turn" : "from Turn") },
    { title: "Last step", cell: (one) => { const step = one.steps.at(-1); return step.answer ? `${step.step}: ${step.answer}` : step.step; } },
    { title: "Person", class: "mono", cell: (one) => one.person || "–" },
  ], (one) => one.id, "No message since the worker's start.");
  for (const [id, is] of [["show-all", false], ["show-trouble", true]]) $(id).addEventListener("click", () => {
    only = is;
    $("show-all").setAttribute("aria-pressed", String(!is));
    $("show-trouble").setAttribute("aria-pressed", String(is));
    show();
  });
  $("channel-search").addEventListener("input", show);
  $("back").addEventListener("click", () => go("channels"));
  $("more-traces").addEventListener("click", loadLatest);
}

export const names = () => [...known.keys()].sort();

// All there is, or what has changed and what has gone.
export function update(channels, gone = null) {
  if (gone === null) known.clear();
  for (const name of gone || []) known.delete(name);
  for (const one of channels) {
    const before = known.get(one.connector);
    if (before && before.state !== one.state) setText($("announce"), `${one.connector}: ${one.remarks[0].text}`);
    known.set(one.connector, one);
  }
  show();
}

export const failed = (text) => table.failed(text);

function show() {
  const all = [...known.values()].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.connector.localeCompare(b.connector));
  const trouble = all.filter((one) => one.state === "bad" || one.state === "warn").length;
  const parked = all.reduce((sum, one) => sum + (one.queues.turn_failures || 0), 0);
  const wanted = $("channel-search").value.trim().toLowerCase();
  table.rows(all.filter((one) => (!only || ["bad", "warn"].includes(one.state)) && one.connector.toLowerCase().includes(wanted)).map((one) => ({ ...one, wanted })));
  setText($("summary"), `${plural(all.length, "channel")}, ${trouble ? `${trouble} in trouble` : "all well"}`);
  badge("trouble", trouble, "in trouble");
  badge("parked-count", parked, "parked");
  $("parked-count").classList.toggle("warn", parked > 0);
  document.title = `${trouble ? `(${trouble}) ` : ""}Channels – vumi_turn`;
  if (chosen !== null) showOne();
}

function badge(id, count, what) {
  $(id).hidden = !count;
  $(id).replaceChildren(String(count), element("span", { class: "unseen" }, ` ${what}`));
}

// ---- one channel

export function showChannel(name) {
  chosen = name;
  $("channel").hidden = name === null;
  if (name === null) return;
  $("channels").hidden = true;
  setText($("channel-name"), name);
  showOne();
  latest.loading();
  loadLatest();
  $("channel-name").focus();
}

async function loadLatest() {
  const name = chosen;
  try {
    const { traces } = await api("GET", `channels/${encodeURIComponent(name)}/traces?limit=50`);
    if (name === chosen) latest.rows(traces);
  } catch (error) {
    if (name === chosen) latest.failed(error.message);
  }
}

function showOne() {
  const one = known.get(chosen);
  showList($("channel-remarks"), one ? one.remarks : [{ kind: "warn", text: "There is no such channel now." }], (said) => said.kind + said.text, remark, () => {});
  if (!one) return $("channel-values").replaceChildren();
  const values = [
    ["From people", `${one.rates.received.toFixed(2)} /s taken, ${one.rates.delivered.toFixed(2)} /s accepted by Turn`],
    ["To people", `${one.rates.published.toFixed(2)} /s published`],
    ["Statuses", `${one.rates.statuses.toFixed(2)} /s accepted by Turn`],
    ["Queues", Object.entries(one.queues).map(([queue, count]) => `${queue} ${count}`).join(", ") || "not known"],
    ["In hand", `${one.waiting}, of these ${one.held} held and ${one.in_flight} under way`],
    ["Oldest in hand", one.oldest === null ? "none" : duration(one.oldest)],
    ["RabbitMQ", `${one.broker}, ${plural(one.reconnects, "reconnect")}`],
  ];
  showList($("channel-values"), values.flatMap(([name, value]) => [{ tag: "dt", name, text: name }, { tag: "dd", name, text: value }]),
    (item) => item.tag + item.name, (item) => element(item.tag), (node, item) => setText(node, item.text));
}
