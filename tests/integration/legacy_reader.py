"""
Reads messages with legacy vumi's own classes. This is Python 2: it is started
with another interpreter, and imports nothing of ours.

Takes lines of ``<class> <JSON>`` on standard input and answers each with a
line of JSON: ``payload`` (as legacy vumi has it, dates written again by it),
``date`` (whether its timestamp became a date), ``endpoint``, or ``error``.
"""

import json
import sys
from datetime import datetime

from vumi.message import TransportEvent, TransportUserMessage, to_json
from vumi.transports.failures import FailureMessage

CLASSES = dict((cls.__name__, cls) for cls in (TransportUserMessage, TransportEvent, FailureMessage))


def read(line):
    name, body = line.split(" ", 1)
    try:
        message = CLASSES[name].from_json(body)
    except Exception as error:
        return {"error": "%s: %s" % (type(error).__name__, error)}
    return {
        # A copy, because asking for the endpoint adds a key to the message.
        "payload": dict(message.payload),
        "date": isinstance(message["timestamp"], datetime),
        "endpoint": message.get_routing_endpoint(),
    }


def main():
    # Not "for line in sys.stdin": Python 2 would read ahead.
    for line in iter(sys.stdin.readline, ""):
        sys.stdout.write(to_json(read(line)) + "\n")
    sys.stdout.write(json.dumps({"end": True}) + "\n")


if __name__ == "__main__":
    main()
