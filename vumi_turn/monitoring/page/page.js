// The operator's page: its views, and what happens in all of them.

import { liveEvents, placeIcons, setText, tabs } from "../design/parts.js";
import { $, api } from "./common.js";
import * as channels from "./channels.js";
import * as parked from "./parked.js";
import { setUpKeys } from "./keys.js";
import * as trace from "./trace.js";

const WORDS = { live: ["Live", "good"], connecting: ["Connecting", "warn"], lost: ["Reconnecting", "bad"] };
const GRACE = 1500; // milliseconds for a connection to come back before a banner says that it is lost

placeIcons();

// A view has an address of its own, so that Back and links work: #/channels, #/channel/NAME, #/parked?connector=NAME, #/trace/ID.
// With the slash it is no element's id: browsers would go to that element, and take the focus away.
const go = (where) => { location.hash = `/${where}`; };
const choose = tabs(document.querySelector("[role=tablist]"), (id) => {
  const view = id.replace("tab-", "");
  if (route().view !== view && !(view === "channels" && route().view === "channel")) go(view);
});

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, name] = path.split("/");
  const known = ["channels", "channel", "parked", "trace"].includes(view);
  return { view: known ? view : "channels", name: name ? decodeURIComponent(name) : "", query: new URLSearchParams(query || "") };
}

let current = null, left = 0; // how many views were left for others
function showRoute() {
  const { view, name, query } = route();
  if (current !== null) left += 1;
  const leavesChannel = current === "channel" && view === "channels";
  current = view;
  choose(`tab-${view === "channel" ? "channels" : view}`);
  channels.showChannel(view === "channel" ? name : null);
  if (leavesChannel) $("tab-channels").focus();
  if (view === "parked") parked.showParked(query.has("connector") ? query.get("connector") : undefined);
  else parked.leave();
  if (view === "trace") trace.showTrace(name);
}

channels.setUp(go);
parked.setUp(go);
trace.setUp(go);
setUpKeys(() => current, () => {
  const { view, name } = route();
  if (!name) return false;
  if (left) history.back();
  else go(view === "channel" ? "channels" : "parked");
  return true;
});
addEventListener("hashchange", showRoute);
showRoute();

let lost = null;
liveEvents("api/events", {
  load: () => api("GET", "channels").catch((error) => { channels.failed(error.message); throw error; }),
  show: (all) => {
    channels.update(all.channels);
    parked.channels(channels.names());
    parked.counted(all.channels);
    parked.changed();
  },
  handlers: {
    channels: ({ channels: some, gone }) => {
      channels.update(some, gone);
      parked.channels(channels.names());
      parked.counted(some);
    },
    parked: () => parked.changed(),
  },
  state: (name) => {
    const [word, kind] = WORDS[name];
    setText($("connection"), word);
    $("connection").className = `state ${kind}`;
    if (name === "live") {
      clearTimeout(lost);
      lost = null;
      $("lost").hidden = true;
    } else if (lost === null) {
      lost = setTimeout(() => { $("lost").hidden = false; }, GRACE);
    }
  },
});
