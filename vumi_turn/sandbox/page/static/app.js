// The page's beginning, and what keeps it up to date.

import { ask, liveEvents, placeIcons, setText, toast } from "./design/parts.js";
import { $, call, changeDrafts, clearProblems, person, state } from "./common.js";
import { setUpFaults, showFaults, showHealth } from "./faults.js";
import { follow, setUpGuide } from "./guide.js";
import { followLink, showMessage } from "./messages.js";
import { setUpKeys, setUpParts } from "./nav.js";
import { allIsSeen, checkNumber, listNumbers, setUpPhone, showPhone } from "./phone.js";
import { setUpParked, showParked } from "./parked.js";
import { addLine } from "./raw.js";
import { setUpTraffic, showAllTraffic } from "./traffic.js";
import { followSomebody, setUpTurn, showTalk } from "./turn.js";

let fresh = true; // nothing was shown yet

const handlers = {
  phone(one) { state.phones.set(person(one.number), one); listNumbers(); showPhone(); showTalk(); },
  conversation(one) { state.conversations.set(person(one.address), one); followSomebody(); showTalk(); },
  message(one) { showMessage(one); follow(); },
  traffic(line) { if (!state.lines.length || line.number > state.lines[state.lines.length - 1].number) addLine(line); },
  faults(faults) { showFaults(faults); follow(); },
  health(health) { showHealth(health); showParked(health.parked); follow(); },
  journey(one) { $("journey").checked = one.on; },
  reset() { call("GET", "state").then((all) => { showAll(all); clearProblems(); toast("Everything is reset.", { kind: "good" }); }, () => {}); },
};

function showSetup(setup) {
  state.setup = setup;
  const simulated = setup.turn === "simulated", application = setup.turn === "none";
  document.body.classList.toggle("application", application);
  $("phone-body").hidden = !setup.phones;
  $("phone-note").hidden = setup.phones;
  $("turn-body").hidden = !simulated;
  $("turn-note").hidden = simulated;
  $("person-row").hidden = !simulated;
  setText($("turn-note"), "Turn is the real one: its conversations are there.");
  $("node-turn").hidden = application;
  setText($("worker-name"), setup.worker === "TurnChannelsApi" ? "Worker" : setup.worker);
  setText($("worker-what"), application
    ? "Your application: takes from the queues and answers." : "vumi_turn: takes from the queues and gives to Turn, and back.");
  setText($("connector"), setup.connector);
  const parts = [`connector ${setup.connector}`, setup.broker === "memory" ? "broker in memory" : "RabbitMQ"];
  if (!application) parts.push(simulated ? "Turn simulated" : "real Turn");
  setText($("setup"), parts.join(" · "));
}

function showAll(all) {
  state.phones = new Map(all.phones.map((one) => [person(one.number), one]));
  state.conversations = new Map(all.conversations.map((one) => [person(one.address), one]));
  state.messages = new Map(all.messages.map((one) => [one.key, one]));
  state.lines = all.traffic;
  $("journey").checked = all.journey;
  showSetup(all.setup);
  showFaults(all.faults);
  showHealth(all.health);
  showParked(all.health.parked, fresh);
  if (fresh) allIsSeen();
  const first = fresh;
  fresh = false;
  listNumbers();
  followSomebody();
  showPhone();
  showTalk();
  showAllTraffic();
  follow();
  if (first) followLink();
}

const STATES = {
  live: ["Live", "good"], connecting: ["Connecting…", "info"], lost: ["The sandbox does not answer; trying again…", "bad"],
};

function showConnection(name) {
  const [text, tone] = STATES[name];
  if (name === "connecting" && $("connection").classList.contains("bad")) return; // still lost, until it is there
  setText($("connection"), text);
  $("connection").className = `state ${tone}`;
  document.body.classList.toggle("lost", name === "lost");
  if (name === "live") clearProblems();
}

placeIcons();
setUpParts();
setUpKeys();
setUpPhone();
setUpTurn();
setUpTraffic();
setUpParked();
setUpFaults();
setUpGuide();
changeDrafts();
$("number").addEventListener("input", () => { changeDrafts(); checkNumber(); showPhone(); showTalk(); });
addEventListener("hashchange", followLink);
$("words-open").addEventListener("click", () => $("words").showModal());
$("reset").addEventListener("click", async () => {
  if (await ask("Reset everything?", "Phones, conversations and messages are forgotten, faults are mended, and what is parked is dropped.", "Reset")) {
    call("POST", "reset", {}).catch((error) => toast(error.message, { kind: "bad" }));
  }
});
liveEvents("api/events", { load: () => call("GET", "state"), show: showAll, handlers, state: showConnection });
