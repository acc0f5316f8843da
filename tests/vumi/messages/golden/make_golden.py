"""
Makes the golden files beside it with legacy vumi's own classes.

Run it with a Python 2.7 that has vumi 0.6.19:

    pip install vumi==0.6.19 Automat==20.2.0
    python tests/golden/make_golden.py

Each file holds exactly what legacy vumi puts on a queue. Ids and dates are
fixed, so that making them again changes no more than the order of keys.
"""

import io
import os
from datetime import datetime

from vumi.message import TransportEvent, TransportUserMessage
from vumi.transports.failures import FailureMessage

HERE = os.path.dirname(os.path.abspath(__file__))
WHEN = datetime(2021, 8, 7, 12, 34, 56, 789012)


def user_message(number, **fields):
    values = dict(
        message_id="%032x" % (0xABC000 + number),
        timestamp=WHEN,
        to_addr="*120*8864#",
        from_addr="+26612345678",
        content=None,
        transport_name="phone_network",
        transport_type="ussd",
        transport_metadata={"session_id": "s-%d" % number},
        helper_metadata={"contact_name": "Thabo"},
    )
    values.update(fields)
    return TransportUserMessage(**values)


def event(number, event_type, **fields):
    return TransportEvent(
        event_id="%032x" % (0xE0E000 + number),
        user_message_id="%032x" % (0xABC000 + number),
        event_type=event_type,
        timestamp=WHEN,
        transport_name="phone_network",
        transport_metadata={},
        **fields,
    )


def messages():
    sms = user_message(
        1,
        to_addr="8864",
        content="Hello",
        transport_type="sms",
        transport_metadata={},
        provider="vodacom",
        to_addr_type="msisdn",
        from_addr_type="msisdn",
    )
    new = user_message(2, session_event="new")
    new.set_routing_endpoint("ussd_line")
    reply = new.reply("Welcome", message_id="%032x" % 0xABC00F)
    reply["timestamp"] = WHEN
    yield "user_message_sms", sms
    yield "user_message_ussd_new", new
    yield "user_message_ussd_resume", user_message(3, session_event="resume", content="1")
    yield "user_message_ussd_close", user_message(4, session_event="close")
    yield (
        "user_message_emoji",
        user_message(5, to_addr="8864", content="Lumela \U0001f600 \u00e9\u4f60", transport_type="sms"),
    )
    yield "user_message_date_like", user_message(6, session_event="resume", content="2021-08-07 12:34:56")
    yield "user_message_group", user_message(7, to_addr=None, group="#vumi", content="hi", transport_type="irc")
    yield "user_message_reply", reply
    yield "event_ack", event(1, "ack", sent_message_id="provider-1")
    yield "event_nack", event(2, "nack", nack_reason="no route")
    for number, status in enumerate(("pending", "failed", "delivered"), 3):
        yield "event_delivery_report_%s" % status, event(number, "delivery_report", delivery_status=status)
    # As vumi.transports.base.Transport.send_failure makes one.
    yield (
        "failure_message",
        FailureMessage(
            message=sms.payload,
            failure_code=FailureMessage.FC_PERMANENT,
            reason="Traceback: no such number",
            timestamp=WHEN,
        ),
    )


def main():
    for name, message in messages():
        with io.open(os.path.join(HERE, name + ".json"), "wb") as golden:
            golden.write(message.to_json())


if __name__ == "__main__":
    main()
