// What became of messages, step by step.

import { copyText, element, icon, plural, setText } from "../design/parts.js";
import { $, api, moment } from "./common.js";

const LOOKS_LIKE_AN_ADDRESS = /^\s*(\+|00)?[0-9 ()-]{5,20}\s*$/;
const GOOD = ["delivered", "published"], BAD = ["parked", "lost"], WARN = ["requeue", "delivered again"];
let go = null, asked = 0;

export function setUp(goTo) {
  go = goTo;
  $("trace-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = $("trace-query").value.trim();
    if (!query) return $("trace-query").focus();
    // An address stays out of the page's own address, which browsers keep.
    if (LOOKS_LIKE_AN_ADDRESS.test(query)) find({ address: query });
    else go(`trace/${encodeURIComponent(query)}`);
  });
  say("nothing", icon("search"), element("p", {}, "Each message has a trace: when it came, each try with Turn's answer, and what became of it. Find one by its id, or all of a person by the address."));
}

export function showTrace(id) {
  if (!id) return;
  $("trace-query").value = id;
  find({ id });
}

async function find({ id, address }) {
  const mine = ++asked;
  say("loading", element("span", { class: "unseen" }, "Loading…"));
  try {
    let { traces } = id ? await api("GET", `traces/${encodeURIComponent(id)}`) : await api("POST", "traces", { address });
    if (id && !traces.length && /^[0-9a-f]{16}$/.test(id)) ({ traces } = await api("POST", "traces", { person: id }));
    if (mine !== asked) return;
    setText($("trace-found"), traces.length ? `${plural(traces.length, "message")} found` : "Nothing found");
    if (!traces.length) return say("nothing", icon("search"), element("p", {}, "Nothing is known of it: it is not among the latest messages of this process, or came before its start."));
    $("traces").replaceChildren(...traces.map(entry));
  } catch (error) {
    if (mine === asked) say("nothing failed", icon("failed"), element("p", {}, error.message));
  }
}

function say(kind, ...what) {
  $("traces").replaceChildren(element("div", { class: kind }, ...what));
}

function entry(one) {
  const way = one.direction === "inbound" ? "From a person to Turn" : "From Turn to a person";
  const heading = element("h2", { class: "mono grow" }, one.id);
  return element("article", { class: "panel entry", "aria-label": `Message ${one.id}` },
    element("div", { class: "head" }, heading,
      element("span", { class: "badge info" }, one.connector), element("span", { class: "soft" }, way),
      one.person ? element("button", { type: "button", class: "chip mono", "aria-label": `All of person ${one.person}`, onclick: () => go(`trace/${one.person}`) }, icon("person"), one.person) : null,
      element("button", { type: "button", class: "quiet only-icon", "aria-label": `Copy the id ${one.id}`, onclick: () => copyText(one.id, "The id") }, icon("copy"))),
    element("div", { class: "body" }, element("ol", { class: "timeline" }, ...steps(one))));
}

function steps(one) {
  const made = one.steps.map((step, index) => element("li", { class: colour(step) },
    element("div", {}, sentence(step), step.words ? element("p", { class: "words" }, `Turn says: ${step.words}`) : null),
    element("span", { class: "at" }, index ? `+${gap(step.at - one.steps[index - 1].at)} ` : "", moment(step.at))));
  if (one.left_out) made.splice(10, 0, element("li", {}, element("div", { class: "soft" }, `${plural(one.left_out, "step")} left out`)));
  return made;
}

const gap = (seconds) => (seconds < 1 ? `${Math.round(Math.max(seconds, 0) * 1000)} ms` : seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`);

function colour(step) {
  if (step.step === "tried") return step.verdict === "delivered" ? "good" : "warn";
  return GOOD.includes(step.step) ? "good" : BAD.includes(step.step) ? "bad" : WARN.includes(step.step) ? "warn" : "";
}

function sentence(step) {
  const of = step.kind === "status" ? " (status)" : "";
  if (step.step === "tried") return `Tried${of}: ${step.answer}, ${step.verdict}, ${step.ms} ms`;
  const told = [step.tries === undefined ? "" : plural(step.tries, "try", "tries"), step.ms === undefined ? "" : `${step.ms} ms`].filter(Boolean);
  const first = step.step[0].toUpperCase() + step.step.slice(1);
  return `${first}${of}${told.length ? ` after ${told.join(", ")}` : ""}`;
}
