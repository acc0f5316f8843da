"""
The account of a run: where every message is, and what must not be.

It looks at the ledger only; no server, no clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Iterable, Optional

from tests.integration.chaos.ledger import (
    ACCEPTED,
    BROKER,
    MESSAGE,
    POISON,
    QUIET,
    STATUS,
    TAKEN,
    TO_TURN,
    TURN,
    WORKER,
    Asked,
    Attempt,
    Death,
    Found,
    Ledger,
    Parked,
    Said,
    Seen,
)

#: Seconds that an acknowledgement may need from Turn's answer to the broker on a busy machine.
ON_ITS_WAY = 1.0

#: Seconds from the 200 for a message that is held until its joined message is acknowledged.
HELD = 5.0

#: Seconds of acknowledgements that a killed RabbitMQ may not have written down yet.
UNWRITTEN = 2.0

#: Seconds from a RabbitMQ that is back until the worker has connected and acknowledged again.
RECONNECTING = 7.0

#: An answer that takes this share of the worker's timeout may be too late.
NEARLY = 0.6

#: No more of each wrong are told.
TOLD = 5


@dataclass
class Account:
    """
    :ivar counts: what to print: a title and its numbers.
    :ivar wrongs: sentences; empty if all is well.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        lines = []
        for title, numbers in self.counts.items():
            lines.append(f"  {title}: " + ", ".join(f"{number} {name}" for name, number in numbers.items()))
        lines += [f"  WRONG: {wrong}" for wrong in self.wrongs] or ["  nothing wrong"]
        return "\n".join(lines)

    def check(self, what: str, culprits: Iterable[str]) -> int:
        """Note a wrong if there are culprits; gives their number."""
        names = list(culprits)
        if names:
            more = ", …" if len(names) > TOLD else ""
            self.wrongs.append(f"{len(names)} {what}: {', '.join(names[:TOLD])}{more}")
        return len(names)


def account_for(ledger: Ledger, timeout: float, prefetch: int) -> Account:
    """
    The account of a run that has drained.

    :param timeout: the worker's, for each POST, in seconds.
    :param prefetch: the worker's: so many may be in flight for each queue.
    """
    account = Account()
    account.counts["troubles"] = dict(sorted(ledger.faults.items()))
    taken: dict[str, list[Seen]] = defaultdict(list)
    for seen in ledger.seen:
        if seen.fate in TAKEN:
            taken[seen.key].append(seen)
    parked: dict[str, list[Parked]] = defaultdict(list)
    for each in ledger.parked:
        parked[each.key].append(each)
    for kind, title in ((MESSAGE, "messages to Turn"), (STATUS, "statuses to Turn")):
        _places(account, ledger, kind, title, taken, parked)
        _order(account, ledger, kind, title, taken, parked)
        _repeats(account, ledger, kind, title, taken, timeout, prefetch)
        _parking(account, ledger, kind, title, parked)
        _both(account, ledger, kind, title, taken, parked, timeout)
    told = {attempt.message_id for asked in ledger.asked for attempt in asked.attempts}
    unknown = sorted(set(taken) - set(ledger.said))
    # A status of a message that was joined into another one, or was not shown.
    account.check("requests for what nobody said", [key for key in unknown if key.split(" ")[0] not in told])
    _outbound(account, ledger)
    account.check("tracebacks in the worker's log", ledger.tracebacks)
    return account


# -- from the queues to Turn --------------------------------------------------


def _places(
    account: Account,
    ledger: Ledger,
    kind: str,
    title: str,
    taken: dict[str, list[Seen]],
    parked: dict[str, list[Parked]],
) -> None:
    """Each one is delivered, parked, queued, or had nothing to send."""
    counts: Counter[str] = Counter()
    lost, left = [], []
    stuck = {said.line for said in ledger.said.values() if said.expect == POISON}
    for said in _of(ledger, kind):
        place = _place(said, ledger, taken, parked)
        counts[place] += 1
        if place == "unaccounted":
            lost.append(said.key)
        elif place == "queued" and said.line not in stuck:
            left.append(said.key)
    account.counts[title] = {
        "said": sum(counts.values()),
        **{
            name: counts[name]
            for name in ("delivered", "parked", "queued", "nothing to send", "never confirmed", "unaccounted")
        },
    }
    account.check(f"{title} are unaccounted for", lost)
    account.check(f"{title} were left in the queue without faults", left)


def _place(said: Said, ledger: Ledger, taken: dict[str, list[Seen]], parked: dict[str, list[Parked]]) -> str:
    if said.key in taken:
        return "delivered"
    if said.key in parked:
        return "parked"
    if said.key in ledger.queued:
        return "queued"
    if said.expect in QUIET:
        return "nothing to send"
    return "unaccounted" if said.certain else "never confirmed"


def _order(
    account: Account,
    ledger: Ledger,
    kind: str,
    title: str,
    taken: dict[str, list[Seen]],
    parked: dict[str, list[Parked]],
) -> None:
    """
    The first deliveries of a line come in the order in which they were said;
    not of those that had been parked before: the others went on without them.
    """
    lines: dict[str, list[tuple[float, Said]]] = defaultdict(list)
    for said in _of(ledger, kind):
        if said.key in taken:
            first = taken[said.key][0].began
            if not any(copy.failed_at < first for copy in parked.get(said.key, ())):
                lines[said.line].append((first, said))
    wrong = []
    pairs = 0
    for line in lines.values():
        line.sort(key=lambda first: first[1].number)
        for (earlier, _), (later, said) in pairwise(line):
            pairs += 1
            if later < earlier:
                wrong.append(said.key)
    account.counts[title]["pairs in order"] = pairs - len(wrong)
    account.counts[title]["out of order"] = account.check(f"{title} overtook an earlier one", wrong)


def _repeats(
    account: Account,
    ledger: Ledger,
    kind: str,
    title: str,
    taken: dict[str, list[Seen]],
    timeout: float,
    prefetch: int,
) -> None:
    """Turn gets twice only what it did not answer properly, or what was in flight at a kill."""
    unheard, wrong = 0, []
    at_kills: Counter[int] = Counter()
    together = _told_together(ledger)
    for said in _of(ledger, kind):
        for first, again in pairwise(taken.get(said.key, ())):
            if _went_unheard(first, ledger, timeout):
                unheard += 1
                continue
            death = _death_between(first, again, _last_of(together.get(said.key, ()), first, taken), ledger)
            if death is None:
                wrong.append(said.key)
            else:
                at_kills[ledger.deaths.index(death)] += 1
    account.counts[title]["repeated after a lie or a cut"] = unheard
    account.counts[title]["repeated after a kill"] = sum(at_kills.values())
    account.check(f"{title} were delivered twice without a reason", wrong)
    for index, number in at_kills.items():
        if number > prefetch and not _broker_trouble(ledger.deaths[index], ledger):
            account.wrongs.append(f"{number} {title} were repeated after one kill, with {prefetch} in flight")


def _went_unheard(seen: Seen, ledger: Ledger, timeout: float) -> bool:
    """The worker may not know that Turn has taken it."""
    if seen.fate != ACCEPTED or seen.ended is None or seen.ended - seen.began > NEARLY * timeout:
        return True
    return any(
        death.who == TURN and seen.began <= death.gone and death.began <= seen.ended + ON_ITS_WAY
        for death in ledger.deaths
    )


def _told_together(ledger: Ledger) -> dict[str, list[str]]:
    """
    The statuses of a joined message by that of its first text: the network says it once, and
    the worker can acknowledge that only when Turn has all of them.
    """
    ids = {asked.marker: asked.answer.message_id for asked in ledger.asked if asked.answer is not None}
    joined: dict[str, set[str]] = defaultdict(set)
    for found in ledger.found.values():
        joined[found.message_id].add(ids.get(found.marker) or found.message_id)
    return {
        said.key: [f"{each} {said.key.rpartition(' ')[2]}" for each in joined[said.line]]
        for said in _of(ledger, STATUS)
        if len(joined[said.line]) > 1
    }


def _last_of(keys: Iterable[str], first: Seen, taken: dict[str, list[Seen]]) -> float:
    """When Turn had all that is acknowledged together with ``first``."""
    firsts = [first, *(taken[key][0] for key in keys if taken.get(key))]
    return max(seen.ended or float("inf") for seen in firsts)


def _death_between(first: Seen, again: Seen, ended: float, ledger: Ledger) -> Optional[Death]:
    """
    The death of a worker that took its knowledge of ``first`` along before the broker had it.

    :param ended: when it could be acknowledged.
    """
    for death in ledger.deaths:
        if death.who != WORKER or not first.began <= death.gone <= again.began:
            continue
        trouble = _broker_trouble(death, ledger)
        if trouble is not None and ended >= trouble.began - UNWRITTEN:
            return death
        if death.how == "SIGKILL" and ended >= death.began - ON_ITS_WAY:
            return death
    return None


def _broker_trouble(death: Death, ledger: Ledger) -> Optional[Death]:
    """The earliest death of the broker that kept acknowledgements of this worker from being written."""
    for other in ledger.deaths:
        if other.who == BROKER and other.began - ON_ITS_WAY <= death.gone:
            if other.back is None or death.began <= other.back + RECONNECTING:
                return other
    return None


def _parking(account: Account, ledger: Ledger, kind: str, title: str, parked: dict[str, list[Parked]]) -> None:
    """Nothing is parked for a 429, for good only what Turn refuses, and twice only over a kill."""
    throttled, for_good, twice, unexplained = [], [], 0, []
    for said in _of(ledger, kind):
        copies = parked.get(said.key, [])
        if any(copy.last_status == 429 for copy in copies):
            throttled.append(said.key)
        if said.expect == TO_TURN and any(copy.code == "permanent" for copy in copies):
            for_good.append(said.key)
        for first, again in pairwise(sorted(copies, key=lambda copy: copy.failed_at)):
            twice += 1
            if not _killed_between(first.failed_at, again.failed_at, ledger):
                unexplained.append(said.key)
    account.counts[title]["parked twice"] = twice
    account.check(f"{title} were parked for a 429", throttled)
    account.check(f"{title} were parked for good without being refused", for_good)
    account.check(f"{title} were parked twice without a kill", unexplained)


def _both(
    account: Account,
    ledger: Ledger,
    kind: str,
    title: str,
    taken: dict[str, list[Seen]],
    parked: dict[str, list[Parked]],
    timeout: float,
) -> None:
    """What is delivered is parked too only after a lie or a cut, or over a kill."""
    number, unexplained = 0, []
    for said in _of(ledger, kind):
        deliveries, copies = taken.get(said.key, []), parked.get(said.key, [])
        if not deliveries or not copies:
            continue
        number += 1
        moments = [copy.failed_at for copy in copies] + [seen.began for seen in deliveries]
        unheard = any(_went_unheard(seen, ledger, timeout) for seen in deliveries)
        if not unheard and not _killed_between(min(moments), max(moments), ledger):
            unexplained.append(said.key)
    account.counts[title]["delivered and parked"] = number
    account.check(f"{title} were delivered and parked without a reason", unexplained)


def _killed_between(began: float, ended: float, ledger: Ledger) -> bool:
    """An acknowledgement may have been lost between two moments."""
    return any(
        death.who != TURN and began - ON_ITS_WAY <= death.gone and death.began <= ended + ON_ITS_WAY
        for death in ledger.deaths
    )


def _of(ledger: Ledger, kind: str) -> list[Said]:
    return [said for said in ledger.said.values() if said.kind == kind]


# -- from Turn to the network -------------------------------------------------


def _outbound(account: Account, ledger: Ledger) -> None:
    """Every 200 is in the queue; further copies have a reason."""
    by_marker: dict[str, list[Found]] = defaultdict(list)
    for found in ledger.found.values():
        by_marker[found.marker].append(found)
    failed = ledger.told("failed")
    # What was joined behind a long text is on a further page, which nobody asked for: Turn was told that it was sent.
    sent = ledger.told("sent")
    # A joined message has the id of the first of them.
    told = {asked.answer.message_id for asked in ledger.asked if asked.answer is not None}
    unanswered, lost, same, other, over, joined, wrong = [], [], 0, 0, 0, 0, []
    for asked in ledger.asked:
        answer = asked.answer
        copies = by_marker.pop(asked.marker, [])
        if answer is None:
            unanswered.append(asked.marker)
        elif not copies and answer.message_id in failed:
            over += 1  # its session had ended, and Turn was told
        elif not copies and (answer.message_id in sent or _on_a_further_page(asked, answer, ledger)):
            joined += 1
        elif not {found.message_id for found in copies} & (told | {answer.message_id}):
            lost.append(f"{asked.marker} ({answer.message_id})")
        distinct = {found.message_id for found in copies}
        joined += answer is not None and bool(copies) and answer.message_id not in distinct
        repeated, changed = len(copies) - len(distinct), max(len(distinct) - 1, 0)
        same, other = same + repeated, other + changed
        if repeated and not (_died_during(asked, ledger, BROKER) or _died_during(asked, ledger, WORKER)):
            wrong.append(f"{asked.marker} (the same id)")
        if changed and not (_died_during(asked, ledger, WORKER) or any(a.left for a in asked.attempts)):
            wrong.append(f"{asked.marker} (another id)")
    account.counts["messages from Turn"] = {
        "asked for": len(ledger.asked),
        "requests": sum(len(asked.attempts) for asked in ledger.asked),
        "answered 200": len(ledger.asked) - len(unanswered),
        "never answered 200": len(unanswered),
        "joined into another one": joined,
        "session was over, Turn was told": over,
        "copies with the same id": same,
        "copies with another id": other,
        "unaccounted": len(lost),
    }
    account.check("messages from Turn never got a 200, also without faults", unanswered)
    account.check("messages from Turn were answered 200 and are in no queue", lost)
    account.check("messages from Turn were published twice without a reason", wrong)
    account.check("messages were published that Turn never asked for", sorted(by_marker))


def _on_a_further_page(asked: Asked, answer: Attempt, ledger: Ledger) -> bool:
    """
    Whether it may be behind a long text, and the worker that knew its id died before the network
    spoke of that: the cache was its memory, so Turn does not hear of it.
    """
    return any(
        found.more and found.person == asked.person and found.at >= answer.ended - ON_ITS_WAY
        for found in ledger.found.values()
    ) and any(death.who == WORKER and death.gone >= answer.ended for death in ledger.deaths)


def _died_during(asked: Asked, ledger: Ledger, who: str) -> bool:
    began, ended = asked.attempts[0].began, asked.attempts[-1].ended
    return any(
        death.who == who and began - ON_ITS_WAY <= death.gone and death.began <= ended + HELD for death in ledger.deaths
    )
