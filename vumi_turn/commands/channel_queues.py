"""
What ``vumi_turn_channel check`` says of RabbitMQ: whether it lets us in, and
what it has of a connector.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Sequence

from ..broker.amqp import ConnectionParameters
from ..broker.amqp.errors import ChannelRefused, ConnectionGone
from ..broker.amqp.inspector import DIFFERS, NO_PERMISSION, BrokerInspector, Found
from ..broker.interface import VUMI_EXCHANGE
from ..failures.queue import FAILURES

#: What a line begins with.
OK, WARNING, FAILED = "ok", "warning", "failed"

#: Takes a line: how it is, what was tried, and what came of it.
Say = Callable[[str, str, str], None]

#: What is missing on a RabbitMQ 4.
RABBITMQ_4 = (
    "it is RabbitMQ {version}, which this worker can use, but legacy vumi and Junebug cannot: they speak AMQP 0-8, "
    "which RabbitMQ 4 refuses; with these use RabbitMQ 3"
)

#: What is there with other properties; with RabbitMQ's words.
DIFFERENT = (
    "it is there with other properties ({words}). Every vumi worker declares it durable and without arguments, so "
    "none of them can use this one: delete it when it is empty; the worker makes it anew"
)


async def look_at_broker(
    inspector: BrokerInspector, parameters: ConnectionParameters, connectors: Sequence[str], say: Say
) -> Optional[bool]:
    """
    Log in, look around, and log out.

    :param connectors: whose queues to look at; none where they are not known.
    :return: whether somebody takes people's messages from one of them, None where that is not known.
    """
    failure = await inspector.connect()
    user, vhost = parameters.username, parameters.vhost
    steps = {
        "broker": f"RabbitMQ answers at {parameters.address}" + (", by TLS" if parameters.tls else ""),
        "credentials": f"user {user!r} may log in",
        "vhost": f"user {user!r} may use {vhost!r}",
    }
    failed = None if failure is None else failure.kind if failure.kind in steps else "broker"
    for title, text in steps.items():
        if failure is not None and title == failed:
            say(FAILED, title, f"RabbitMQ at {parameters.address}: {failure.sentence}")
            return None
        say(OK, title, text)
    product, version = inspector.server
    if product == "RabbitMQ" and version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 4:
        say(WARNING, "broker version", RABBITMQ_4.format(version=version))
    try:
        return await _look_around(inspector, connectors, say)
    except ConnectionGone as error:
        say(FAILED, "broker", f"the connection was lost: {error}")
        return None
    finally:
        await inspector.close()


async def _look_around(inspector: BrokerInspector, connectors: Sequence[str], say: Say) -> Optional[bool]:
    title = f"exchange {VUMI_EXCHANGE}"
    if await _found(title, inspector.exchange(VUMI_EXCHANGE), say) is not None:
        say(OK, title, "durable and direct, as it has to be")
    running = False
    for connector in connectors:
        for kind, judge in JUDGES.items():
            title = f"queue {connector}.{kind}"
            found = await _found(title, inspector.queue(f"{connector}.{kind}"), say)
            if found is not None:
                level, text = judge(found)
                say(level, title, text)
                running = running or (kind == "inbound" and found.consumers > 0)
    return running if connectors else None


async def _found(title: str, look: Awaitable[Found], say: Say) -> Optional[Found]:
    """What is there and can be used; anything else is said."""
    try:
        found = await look
    except ChannelRefused as refused:
        say(FAILED, title, f"RabbitMQ refuses a look at it: {refused}")
        return None
    if not found.exists:
        if title.endswith(".outbound"):
            say(WARNING, title, "not there yet, so no transport has run on this connector")
        else:
            say(OK, title, "not there yet; the worker makes it")
        return None
    if found.refusal is None:
        return found
    code, words = found.refusal
    if code == NO_PERMISSION:
        say(WARNING, title, f"RabbitMQ does not let us declare it ({words}), so it is used as it is")
    elif code == DIFFERS:
        say(FAILED, title, DIFFERENT.format(words=words))
    else:
        say(FAILED, title, f"RabbitMQ does not let us declare it ({code} {words}): check the permissions")
    return None


def _inbound(found: Found) -> tuple[str, str]:
    if found.consumers:
        text = "another worker takes people's messages already; between two there is no order"
        return WARNING, f"{_held(found)}; {text}"
    return OK, f"{_held(found)} for the worker"


def _event(found: Found) -> tuple[str, str]:
    return OK, f"{_held(found)} for the worker"


def _outbound(found: Found) -> tuple[str, str]:
    if found.consumers:
        return OK, f"a transport takes what we send; {_held(found)}"
    return WARNING, f"nobody takes what we send: is the transport running? {_held(found)}"


def _failures(found: Found) -> tuple[str, str]:
    if found.messages:
        return WARNING, f"{_held(found)}, parked: see vumi_turn_failures list"
    return OK, "nothing is parked"


#: What each queue of a connector means, in the order in which they are looked at.
JUDGES: dict[str, Callable[[Found], tuple[str, str]]] = {
    "inbound": _inbound,
    "event": _event,
    "outbound": _outbound,
    FAILURES: _failures,
}


def _held(found: Found) -> str:
    return f"{found.messages} message{'' if found.messages == 1 else 's'}"
