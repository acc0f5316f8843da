// The page's beginning, and what keeps it up to date.

import { $, call, person, setText, state } from "./common.js";
import { allIsSeen, listNumbers, setUpPhone, showPhone } from "./phone.js";
import { followSomebody, setUpTurn, showTalk } from "./turn.js";
import { showHealth, showFaults, setUpFaults } from "./faults.js";
import { addLine, filterWire, setUpWire } from "./traffic.js";

const AGAIN = 2000; // milliseconds until a closed stream is opened again

let fresh = true; // nothing was shown yet

const HANDLERS = {
  phone(one) { state.phones.set(person(one.number), one); listNumbers(); showPhone(); },
  conversation(one) { state.conversations.set(person(one.address), one); followSomebody(); showTalk(); },
  traffic: addLine,
  faults: showFaults,
  health: showHealth,
  journey(one) { $("journey").checked = one.on; },
};

function showSetup(setup) {
  for (const [part, there] of [["phone", setup.phones], ["turn", setup.turn === "simulated"]]) {
    $(part + "-body").hidden = !there;
    $(part + "-note").hidden = there;
  }
  $("lead").hidden = !setup.phones;
  const broker = setup.broker === "memory" ? "broker in memory" : "RabbitMQ";
  setText($("connection"), `Live. Connector ${setup.connector}, ${broker}, Turn ${setup.turn}.`);
  $("connection").className = "live";
}

function showAll(all) {
  state.phones = new Map(all.phones.map((one) => [person(one.number), one]));
  state.conversations = new Map(all.conversations.map((one) => [person(one.address), one]));
  state.lines = all.traffic;
  $("journey").checked = all.journey;
  showSetup(all.setup);
  showFaults(all.faults);
  showHealth(all.health);
  if (fresh) allIsSeen();
  fresh = false;
  listNumbers();
  followSomebody();
  showPhone();
  showTalk();
  filterWire();
}

function showLost() {
  setText($("connection"), "The sandbox does not answer; trying again…");
  $("connection").className = "lost";
}

// Events that come while the whole state is on its way wait for it; lines that it has are not added twice.
function listen() {
  const source = new EventSource("api/events");
  let waiting = null;
  const handle = (name, data) => {
    if (name === "traffic" && state.lines.length && data.number <= state.lines[state.lines.length - 1].number) return;
    HANDLERS[name](data);
  };
  source.addEventListener("open", async () => {
    waiting = [];
    try {
      showAll(await call("GET", "state"));
    } catch (error) {
      showLost();
    }
    const missed = waiting;
    waiting = null;
    for (const [name, data] of missed) handle(name, data);
  });
  source.addEventListener("error", () => {
    showLost();
    // A browser tries again by itself, unless it was answered with an error.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
  for (const name of Object.keys(HANDLERS)) {
    source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      if (waiting === null) handle(name, data);
      else waiting.push([name, data]);
    });
  }
}

setUpPhone();
setUpTurn();
setUpWire();
setUpFaults();
listen();
