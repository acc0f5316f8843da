"""Goes through a USSD journey, by the API of a running sandbox.

    twistd -n vumi_turn_sandbox
    python3 ussd_journey.py [http://127.0.0.1:8010]

It dials, answers each screen, and checks what Turn was told of it: a beginning for a test of your own journey.
"""

import json
import sys
import time
from urllib.request import Request, urlopen

SANDBOX = (sys.argv[1:] or ["http://127.0.0.1:8010"])[0].rstrip("/")
NUMBER = "+26650000001"
#: What the person says, and some words that the next screen must have.
DIALOGUE = [("*120*8864#", "Book a visit"), ("1", "Which day"), ("3", "Your visit is booked for Friday")]


def call(method, path, body=None):
    """What the API answers to a request."""
    data = json.dumps(body).encode() if body else None
    request = Request(f"{SANDBOX}/api/{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        return json.load(urlopen(request, timeout=10))
    except OSError as error:
        sys.exit(f"{SANDBOX}: {error}; is the sandbox running there?")


def wait_for(look, what):
    """What ``look`` gives, once that is true; the end of the script after 10 seconds without."""
    deadline = time.monotonic() + 10
    while not (found := look()):
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.05)
    return found


def screen_with(words):
    """The phone, once its screen has these words."""
    phone = call("GET", f"phones/{NUMBER}")
    return phone if words in (phone["screen"] or "") else None


def all_sent():
    """The answers as Turn knows them, once each of them is sent."""
    entries = call("GET", f"conversations/{NUMBER}")["entries"]
    answers = [entry for entry in entries if entry["direction"] == "outbound"][-len(DIALOGUE) :]
    return answers if len(answers) == len(DIALOGUE) and all("sent" in one["statuses"] for one in answers) else None


for said, words in DIALOGUE:
    action, field = ("dial", "code") if said.startswith("*") else ("answer", "text")
    call("POST", f"phones/{NUMBER}/{action}", {field: said})
    phone = wait_for(lambda words=words: screen_with(words), f"a screen with {words!r}")
    print(f"> {said}\n{phone['screen']}\n")
if phone["session"] is not None:
    sys.exit("the session is still open")
print(f"The session is closed. Turn has {len(wait_for(all_sent, 'the statuses'))} answers, each of them sent.")
