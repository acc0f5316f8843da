"""
Several messages for one input, shown as one.

A part is a message that answers an input and does not wait for another one, or
one that waits while parts are held. Parts lie in a queue of their own,
``<connector>.turn_joining``; the one worker that consumes it holds them for
the window, and publishes what there is as one message:

==================  =============================  ==============================
what happens        while                          then
==================  =============================  ==============================
a part comes        nothing is held for its input  it is held, the window begins
a part comes        parts are held                 it is held, the window begins anew
one that waits      –                              all are published, ``resume``
the window ends     no waiting one is on its way   all are published, ``close``
the window ends     one is on its way              they are held on, three windows at most
the window ends     the process has stood still    the window begins anew, once
the broker refuses  –                              all are tried again, in order
a delivery is lost  –                              that part is let go: it comes again
==================  =============================  ==============================
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol, Sequence

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..broker.interface import BrokerError, Delivery, Outcome
from ..caches import CacheUnavailable
from ..caches.documents import DocumentStore
from ..timing.backoff import Backoff
from ..timing.named_log import named
from ..vumi.messages import MalformedMessage, TransportUserMessage
from .answers import Finish, InputAnswers
from .joined_notes import JoinedNotes

log = Logger()

#: So many windows after its first part a joined message is published at the latest.
MOST_WINDOWS = 3

#: A window that ends so many seconds late ends while the process has not read what came: it stood still.
STOOD_STILL = 0.25


@dataclass(frozen=True)
class Part:
    """
    One message of Turn's, whole and unrendered.

    :ivar id: what Turn was told.
    :ivar original: the input that it answers, without its content.
    :ivar turn: the message as Turn means it.
    :ivar content: what Turn says beside it.
    :ivar waits: an answer is expected.
    """

    id: str
    original: TransportUserMessage = field(repr=False)
    turn: dict[str, Any] = field(repr=False)
    content: object = field(repr=False)
    waits: bool

    @property
    def input_id(self) -> str:
        """The id of the input that it answers."""
        return self.original.message_id

    def to_json(self) -> bytes:
        """Its body in the queue, ASCII."""
        return json.dumps(
            {
                "id": self.id,
                "original": self.original.to_json().decode("utf-8"),
                "turn": self.turn,
                "content": self.content,
                "waits": self.waits,
            }
        ).encode("ascii")

    @classmethod
    def from_json(cls, body: bytes) -> Part:
        """
        Read what :meth:`to_json` wrote.

        :raises MalformedMessage: it is something else.
        """
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise MalformedMessage("not JSON") from None
        match value:
            case {"id": str(id_), "original": str(original), "turn": dict(turn), "waits": bool(waits)}:
                return cls(id_, TransportUserMessage.from_json(original), turn, value.get("content"), waits)
        raise MalformedMessage("not a part of a message")


class JoinedFlow(Protocol):
    """What a joined message is made and published by."""

    async def publish_joined(self, parts: Sequence[Part], message_id: str, goes_on: bool) -> None:
        """
        Render parts as one message and publish it; returns once the broker has it.

        :param goes_on: the session goes on after it, also where no part waits for input.
        :raises BrokerError: the broker has not taken it.
        """

    async def session_goes_on(self, original: TransportUserMessage) -> bool:
        """Whether the session that an input is in is still the person's, as far as that is known."""

    def late(self, count: int) -> None:
        """So many parts came after their input had been answered: most transports cannot show them."""

    async def fail_part(self, part: Part, delivery: Delivery) -> Outcome:
        """Tell Turn that a part was not shown; what becomes of its delivery."""


@dataclass
class _Member:
    """A part that is held."""

    part: Part
    delivery: Delivery
    settled: Deferred[Outcome]


class _Group:
    """
    The parts that are held for one input.

    :ivar first_at: when the first of them came, in the clock's seconds; as if it had come
        later by the time for which the process stood still.
    :ivar ends_at: when the window ends.
    :ivar stood_still: the process did, and the window began anew.
    """

    __slots__ = ("members", "first_at", "ends_at", "stood_still", "timer")

    def __init__(self, first_at: float) -> None:
        self.members: list[_Member] = []
        self.first_at = self.ends_at = first_at
        self.stood_still = False
        self.timer: Optional[IDelayedCall] = None


class Joiner:
    """
    Holds parts, and publishes them as one message.

    :param clock: measures windows; it must be monotonic.
    :param window: seconds; 0 publishes each part as it comes.
    :param documents: of the message cache.
    :param answers: how inputs were answered.
    :param flow: makes and publishes messages.
    :param connector: named in log lines.
    """

    def __init__(
        self,
        clock: IReactorTime,
        window: float,
        documents: DocumentStore,
        answers: InputAnswers,
        flow: JoinedFlow,
        connector: str = "",
    ) -> None:
        self._log = named(log, connector)
        self._clock = clock
        self._window = window
        self._notes = JoinedNotes(documents)
        self._answers = answers
        self._flow = flow
        self._groups: dict[str, _Group] = {}
        self._publishing: dict[str, Deferred[None]] = {}
        self._stopping = False

    @property
    def held(self) -> int:
        """How many parts are held."""
        return sum(len(group.members) for group in self._groups.values())

    async def take(self, part: Part, delivery: Delivery) -> Outcome:
        """
        Hold a part until its message is published.

        :return: what becomes of its delivery.
        """
        if self._stopping or delivery.lost:
            return Outcome.REQUEUE
        member = _Member(part, delivery, Deferred())
        group = self._groups.get(part.input_id)
        if group is None:
            group = self._groups[part.input_id] = _Group(self._clock.seconds())
        group.members.append(member)
        delivery.on_lost(lambda: self._let_go(part.input_id, member))
        if part.waits:
            self._flush(part.input_id, True)
        else:
            self._hold(part.input_id, group)
        return await member.settled

    async def drain(self, timeout: float) -> None:
        """
        Let windows run out; what comes meanwhile is held too.

        :param timeout: seconds to wait at most.
        """
        ends_at = self._clock.seconds() + timeout
        while (self._groups or self._publishing) and self._clock.seconds() < ends_at:
            await deferLater(self._clock, min(0.05, timeout))

    def give_back(self) -> None:
        """Give back what is left, now that no more comes."""
        self._stopping = True
        for group in list(self._groups.values()):
            self._cancel(group)
            for member in group.members:
                _settle(member, Outcome.REQUEUE)
        self._groups.clear()

    # -- holding -----------------------------------------------------------------

    def _hold(self, input_id: str, group: _Group) -> None:
        self._cancel(group)
        latest = group.first_at + MOST_WINDOWS * self._window
        seconds = max(min(self._window, latest - self._clock.seconds()), 0.0)
        group.ends_at = self._clock.seconds() + seconds
        group.timer = self._clock.callLater(seconds, self._window_ended, input_id)

    def _window_ended(self, input_id: str) -> None:
        group = self._groups[input_id]
        group.timer = None
        late = self._clock.seconds() - group.ends_at
        if late > STOOD_STILL and not group.stood_still:
            group.stood_still = True
            group.first_at += late
            self._hold(input_id, group)
        else:
            self._flush(input_id, False)

    def _let_go(self, input_id: str, member: _Member) -> None:
        """A part's delivery is lost: it comes again, here or to another worker."""
        group = self._groups.get(input_id)
        if group is not None and member in group.members:
            group.members.remove(member)
            if not group.members:
                self._cancel(group)
                del self._groups[input_id]
        _settle(member, Outcome.REQUEUE)

    @staticmethod
    def _cancel(group: _Group) -> None:
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None

    # -- publishing ----------------------------------------------------------------

    def _flush(self, input_id: str, waits: bool) -> None:
        """Publish what is held for an input, after what is being published for it."""
        if input_id in self._publishing:
            if waits or self._groups[input_id].timer is None:
                self._publishing[input_id].addCallback(lambda _: self._flush_if_held(input_id, waits))
            return
        group = self._groups.pop(input_id)
        self._cancel(group)
        done = ensureDeferred(self._publish(input_id, group, waits))
        self._publishing[input_id] = done
        done.addBoth(self._published, input_id)

    def _flush_if_held(self, input_id: str, waits: bool) -> None:
        if input_id in self._groups and not self._stopping:
            self._flush(input_id, waits or any(m.part.waits for m in self._groups[input_id].members))

    def _published(self, result: Any, input_id: str) -> None:
        self._publishing.pop(input_id, None)
        if result is not None:
            self._log.failure("Joining the answers to an input failed", result)

    async def _publish(self, input_id: str, group: _Group, waits: bool) -> None:
        """Publish a group; a boundary of its own: each of its members is settled."""
        try:
            await self._publish_members(input_id, group, waits)
        except Exception:
            self._log.failure(
                "Publishing the answers to {message_id} failed; they go back to their queue", message_id=input_id
            )
            for member in group.members:
                _settle(member, Outcome.REQUEUE)

    async def _publish_members(self, input_id: str, group: _Group, waits: bool) -> None:
        members, message_id = await self._unpublished(group.members)
        if not members:
            return
        if not await self._flow.session_goes_on(members[0].part.original):
            for member in members:
                _settle(member, await self._flow.fail_part(member.part, member.delivery))
            return
        await self._notes.joined(_ids_of(members), message_id)
        held_long = self._clock.seconds() >= group.first_at + MOST_WINDOWS * self._window
        finish = await self._finish(input_id, message_id, waits, held_long, _ids_of(members))
        if finish is Finish.HOLD:
            self._take_back(input_id, group)
            return
        if finish is Finish.LATE:
            self._flow.late(len(members))
        goes_on = finish is not Finish.CLOSE
        backoff = Backoff()
        while True:
            members = [member for member in members if not member.delivery.lost]
            if not members:
                return
            try:
                await self._flow.publish_joined(_parts_of(members), message_id, goes_on)
                break
            except BrokerError:
                if self._stopping:
                    for member in members:
                        _settle(member, Outcome.REQUEUE)
                    return
                await deferLater(self._clock, backoff.next())
        await self._notes.published(_ids_of(members), message_id)
        for member in members:
            _settle(member, Outcome.ACK)

    def _take_back(self, input_id: str, group: _Group) -> None:
        """Hold parts on, those that have come meanwhile behind them."""
        newer = self._groups.get(input_id)
        if newer is not None:
            self._cancel(newer)
            group.members.extend(newer.members)
        self._groups[input_id] = group
        group.members[:] = [member for member in group.members if not member.settled.called]
        if not group.members:
            del self._groups[input_id]
        elif any(member.part.waits for member in group.members):
            self._clock.callLater(0, self._flush_if_held, input_id, True)
        else:
            self._hold(input_id, group)

    async def is_published(self, message_id: str) -> bool:
        """Whether it is noted that a part was published."""
        return await self._notes.is_published(message_id)

    # -- what was noted --------------------------------------------------------------

    async def _finish(self, input_id: str, message_id: str, waits: bool, held_long: bool, ids: Sequence[str]) -> Finish:
        try:
            finish = await self._answers.finish(input_id, message_id, waits, ids)
            if finish is Finish.HOLD and held_long:
                # One that waits has been on its way for long; it is not to find a closed session.
                finish = await self._answers.finish(input_id, message_id, True, ids)
            return finish
        except CacheUnavailable:
            return Finish.RESUME if waits else Finish.CLOSE

    async def _unpublished(self, members: list[_Member]) -> tuple[list[_Member], str]:
        """
        Those that were not published before, by a worker that was killed then
        for example; the others are settled. And the id of the joined message:
        the first part's, or the one that was noted before.
        """
        message_id: Optional[str] = None
        left = []
        for member in members:
            note = await self._notes.of(member.part.id)
            if note.get("published") is True:
                _settle(member, Outcome.ACK)
                continue
            left.append(member)
            if message_id is None and isinstance(note.get("id"), str):
                message_id = note["id"]
        return left, message_id or (left[0].part.id if left else "")


def _parts_of(members: Sequence[_Member]) -> list[Part]:
    """Each part once: a POST that Turn has repeated may be in the queue twice."""
    return list({member.part.id: member.part for member in members}.values())


def _ids_of(members: Sequence[_Member]) -> list[str]:
    return [part.id for part in _parts_of(members)]


def _settle(member: _Member, outcome: Outcome) -> None:
    if not member.settled.called:
        member.settled.callback(outcome)
