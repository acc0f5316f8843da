"""
Legacy vumi's own middlewares, made from configurations. This is Python 2: it
is started with another interpreter, and imports nothing of ours.

Takes a line of JSON on standard input, a list of worker configurations whose
middlewares are of the class ``Trace``, and answers with another: for each
configuration what was called, in order, by direction and kind of message; or
the name of the exception.
"""

import json
import sys

from vumi.middleware import base


class Trace(base.BaseMiddleware):
    """Writes down which of its methods are called."""

    def handle_inbound(self, message, connector_name):
        return message + ["%s.inbound %s %s" % (self.name, connector_name, self.worker)]

    def handle_publish_outbound(self, message, connector_name):
        return message + ["%s.publish_outbound %s %s" % (self.name, connector_name, self.worker)]

    def handle_event(self, message, connector_name):
        return message + ["%s.event %s %s" % (self.name, connector_name, self.worker)]


def trace(config):
    base.load_class_by_string = lambda name: {"tests.Trace": Trace}[name]
    try:
        middlewares = base.create_middlewares_from_config("worker", config)
    except Exception as error:
        return type(error).__name__
    stack = base.MiddlewareStack(middlewares)
    found = {}
    for direction, apply in (("consume", stack.apply_consume), ("publish", stack.apply_publish)):
        for kind in ("inbound", "outbound", "event", "failure"):
            apply(kind, [], "c").addCallback(
                lambda calls, where="%s %s" % (direction, kind): found.__setitem__(where, calls)
            )
    return found


def main():
    configs = json.loads(sys.stdin.readline())
    sys.stdout.write(json.dumps([trace(config) for config in configs]) + "\n")


if __name__ == "__main__":
    main()
