// A message's request as a command for a terminal.

import { state } from "./common.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The POST to Turn of a message from a person, or Turn's own of one to a person. Secrets are not on this page: they are variables.
export function curlOf(one) {
  const incoming = one.direction === "in";
  const line = state.lines.find((each) => each.protocol === "http" && each.what === "request" && one.hops.some((hop) => hop.lines.includes(each.number)) &&
    each.who === (incoming ? "worker" : "turn"));
  const body = line ? JSON.stringify(line.body) : "{}";
  if (incoming) {
    return [`curl ${quoted(`${state.setup.turn_api_url}/messages`)}`, `-H "Authorization: Bearer $TURN_TOKEN"`,
      `-H 'Content-Type: application/json'`, `-d ${quoted(body)}`].join(" \\\n  ");
  }
  return [`BODY=${quoted(body)}`,
    `curl ${quoted(state.setup.webhook || "")} \\\n  -H "X-Turn-Hook-Signature: $(printf %s "$BODY" | openssl dgst -sha256 -hmac "$TURN_HMAC_SECRET" -binary | base64)"`
      + ` \\\n  -H 'Content-Type: application/json' -d "$BODY"`].join("\n");
}
