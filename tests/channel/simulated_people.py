"""
People with phones, and the journey that Turn leads each of them through, in a
:class:`~tests.channel.simulated_world.World`. What must hold is checked on the way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional

from twisted.internet.defer import Deferred

from tests.channel.simulated_journeys import Journey, Said, bare
from tests.channel.simulated_world import Place, World
from vumi_turn.conversation.gsm import is_gsm, septets, utf16_units
from vumi_turn.http.errors import ApiError
from vumi_turn.turn.payloads import parse_outbound
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

NEXT, BACK = "98. More", "0. Back"
#: Seconds that Turn waits for an answer, and for how long it asks again.
PATIENCE, TRYING = 5.0, 60.0


class Present:
    """A client that waits for its answer."""

    present = True


@dataclass
class Screen:
    """
    What the person sees.

    :ivar whole: the whole text, without white space.
    :ivar pages: those that were seen, by number.
    """

    shown_at: float
    whole: str = ""
    page: int = 0
    pages: dict[int, str] = field(default_factory=dict)
    open: bool = True

    @property
    def text(self) -> str:
        return self.pages[self.page]


class Person:
    """
    :param world: where they are.
    :param number: says who.
    :param ussd: whether they dial; else they write SMS.
    """

    def __init__(self, world: World, number: int, ussd: bool) -> None:
        self.world = world
        self.rng = world.rng
        self.address = f"+2661234{number:04}"
        self.number = number
        self.ussd = ussd
        self.journey = Journey(world.rng, f"m{number}", ussd)
        self.count = 0
        self.seen_ids: set[str] = set()
        #: The inputs that asked for another page.
        self.keys: set[str] = set()
        #: Numbers and titles of the person's menu, as the last message that was published left it.
        self.menu: dict[int, str] = {}

    # -- what the person does ------------------------------------------------------------

    async def live(self, sessions: int) -> None:
        """Some sessions, one after the other."""
        for _ in range(sessions):
            await self.world.sleep(self.rng.uniform(0, 3))
            self.menu = {} if self.ussd else self.menu
            message_id = self.types(None if self.ussd else "hi", "new" if self.ussd else None)
            for _ in range(self.rng.randint(1, 5)):
                screen = await self._answered(message_id)
                if screen is None or not screen.open:
                    break
                end = await self._read(screen)
                if end is None:
                    break
                message_id = end
            if self.ussd and self.rng.random() < 0.2:
                self.types(None, "close")

    def types(self, content: Optional[str], session_event: Optional[str]) -> str:
        """An input; its id."""
        self.count += 1
        message = TransportUserMessage.send(
            "*120#" if self.ussd else "8864",
            content,
            from_addr=self.address,
            session_event=session_event,
            message_id=f"in-{self.number}-{self.count}",
            transport_name="c",
            transport_type="ussd" if self.ussd else "sms",
        )
        self.world.server.push("c.inbound", message.to_json())
        return message.message_id

    async def _read(self, screen: Screen) -> Optional[str]:
        """Turn pages, and give an answer: the input's id. None if that was the end, or nothing came of it."""
        while True:
            typed, expected, step = self._answer_to(screen)
            message_id = self.types(typed, "resume" if self.ussd else None)
            if step:
                self.keys.add(message_id)
                if not await self._page(screen, message_id, step):
                    return None
                if not screen.open:
                    return None
                continue
            if not await self.world.until(partial(self.world.has_heard, message_id), 40):
                self._problem(f"Turn has not heard {typed!r}")
                return None
            body = self.world.heard[message_id][0]["text"]["body"]
            self.world.seen["choice"] += body != typed
            if body != expected and not self._amnesia(screen.shown_at):
                self._problem(f"{typed!r} was {body!r}, not {expected!r}, after {screen.text!r}")
            return message_id

    def _answer_to(self, screen: Screen) -> tuple[str, str, int]:
        """What the person types, what Turn is to hear, and by how many pages it turns."""
        dice = self.rng.random()
        last = screen.text.split("\n")
        if NEXT in last and dice < 0.75:
            return self.rng.choice(["98", " 98.", "٩٨", "98"]), "", 1
        if BACK in last and dice < 0.85:
            return self.rng.choice(["0", "0)"]), "", -1
        if self.menu and dice < 0.95:
            number = self.rng.choice(sorted(self.menu))
            title = self.menu[number]
            return self.rng.choice([f"{number}", f" {number}) ", title.upper(), f"{title}."]), title, 0
        self.count += 1
        own = self.rng.choice([f"own {self.count}", "1" if not self.menu else "77"])
        return own, own, 0

    async def _page(self, screen: Screen, message_id: str, step: int) -> bool:
        """A key was typed: the page that is shown."""
        found = await self.world.until(lambda: self._reply_to(message_id) is not None, 40)
        if message_id in self.world.heard:
            if not self._amnesia(screen.shown_at):
                self._problem(f"Turn has heard the key of a page: {self.world.heard[message_id]}")
            return False
        if not found:
            self._problem("a key has shown no page")
            return False
        reply = self._reply_to(message_id)
        assert reply is not None
        self.world.seen["page"] += 1
        return self._turned(screen, reply, step)

    def _turned(self, screen: Screen, reply: dict[str, Any], step: int) -> bool:
        text = reply["content"]
        screen.page += step
        before = screen.pages.setdefault(screen.page, text)
        if before != text and not self._amnesia(screen.shown_at):
            self._problem(f"page {screen.page} was {before!r}, and is {text!r}")
        ends = NEXT not in text.split("\n")
        screen.open = reply["session_event"] != "close"
        if not screen.open and not ends:
            self._problem(f"the session was closed before the last page: {text!r}")
        if ends:
            seen = "".join(_without_keys(screen.pages[page]) for page in sorted(screen.pages))
            if bare(seen) != screen.whole and not self._amnesia(screen.shown_at):
                self._problem(f"pages show {bare(seen)!r}, not {screen.whole!r}")
        return True

    # -- what Turn does ---------------------------------------------------------------------

    async def _answered(self, message_id: str) -> Optional[Screen]:
        """Turn hears an input and answers it; what the person sees then."""
        if not await self.world.until(partial(self.world.has_heard, message_id), 40):
            self._problem(f"Turn has not heard {message_id}")
            return None
        together = self.rng.random() < 0.15
        plan = self.journey.plan(message_id, together)
        at = self.world.clock.seconds()
        posts = []
        for said in plan:
            post = Deferred.fromCoroutine(self._post(said))
            posts.append(post)
            if not together:
                await post
                await self.world.sleep(self.rng.choice([0, 0.1, 0.5]) if self.ussd else 0.1)
        for post in posts:
            if together:
                await post
        if not await self.world.until(lambda: self._reply_to(message_id) is not None, 40):
            if all(said.message_id for said in plan) and not self._amnesia(at):
                self._problem(f"nothing answers {message_id}")
            return None
        if not self.ussd:
            return Screen(at, pages={0: "", 1: ""})
        reply = self._reply_to(message_id)
        assert reply is not None
        return self._screen(reply, plan, at, in_order=not together)

    def _screen(self, reply: dict[str, Any], plan: list[Said], at: float, in_order: bool) -> Screen:
        text = reply["content"]
        group = [said for said in self.journey.said.values() if reply["message_id"] in said.shown]
        words = re.split(r"\s", text)
        group.sort(key=lambda said: words.index(said.name) if said.name in words else len(words))
        if in_order and group != [said for said in plan if said in group] and not self._amnesia(at):
            self._problem(f"not in order: {text!r}")
        if in_order and group != plan and not self.world.failed_since(at - 10, *ANY):
            self._problem(f"not together: {text!r} of {[said.name for said in plan]}")
        screen = Screen(at, pages={0: text}, open=reply["session_event"] != "close")
        screen.whole = self.journey.whole(group)
        if NEXT not in text.split("\n") and bare(text) != screen.whole:
            self._problem(f"{text!r} is not {screen.whole!r}")
        waits = any(said.waits for said in group)
        if not screen.open and waits and not self._amnesia(at):
            self._problem(f"a message that waits closes: {text!r}")
        return screen

    async def _post(self, said: Said) -> None:
        """The same request until it is answered 200, each time at any worker."""
        body = {
            "to": self.address,
            "reply_to": said.input_id if self.rng.random() < 0.5 else None,
            "turn": said.turn,
            "waiting_for_user_input": said.waits,
        }
        raw = json.dumps(body).encode()
        ends = self.world.clock.seconds() + TRYING
        while self.world.clock.seconds() < ends:
            place = self.rng.choice(self.world.places)
            if place.up and await self._post_once(place, raw, said):
                return
            await self.world.sleep(0.3)
        if not self.world.shared:
            return  # what reply_to names may have been forgotten
        self._problem(f"{said.name} was not taken")

    async def _post_once(self, place: Place, raw: bytes, said: Said) -> bool:
        publisher, reactor = place.worker.channel.publisher, place.reactor
        request = parse_outbound(raw)
        accepting = Deferred.fromCoroutine(publisher.accept(request, raw, Present()))
        accepting.addTimeout(PATIENCE, self.world.clock)
        try:
            message_id = await accepting
        except ApiError:
            return False
        except Exception as error:
            if not reactor.dead and "Timeout" not in type(error).__name__:
                self._problem(f"POST of {said.name}: {error!r}")
            return False
        if reactor.dead:
            return False
        if not self.world.holds(message_id):
            self._problem(f"{said.name} has a 200, and the broker has nothing")
        publisher.answered(request, raw, message_id, True)
        said.message_id = message_id
        return True

    # -- what is published to the person ------------------------------------------------------

    def take(self, message: dict[str, Any]) -> None:
        """A message comes to the phone's network."""
        text, name = message["content"], message["message_id"]
        if name in self.seen_ids:
            self.world.note("shown again")
        self.seen_ids.add(name)
        if self.ussd:
            self._check_screen(message)
        if message["in_reply_to"] not in self.keys or message["in_reply_to"] in self.world.heard:
            group = self._group(text)
            self.world.seen["joined"] += len(group) > 1
            for said in group:
                said.shown.append(name)
            titles, _ = self.journey.numbered(group)
            if titles:
                self.menu = titles
            elif any(said.waits for said in group):
                self.menu = {}
        self.world.clock.callLater(self.rng.uniform(0.01, 0.5), self._ack, name)

    def _group(self, text: str) -> list[Said]:
        """The messages that a first page begins to show, in its order."""
        words = re.split(r"\s", text)
        group = [said for said in self.journey.said.values() if said.name in words]
        group.sort(key=lambda said: words.index(said.name))
        if group and NEXT in text.split("\n") and bare(_without_keys(text)) == self.journey.whole(group):
            # What makes it longer than a screen is all on later pages.
            input_id = group[0].input_id
            group += [
                said
                for said in self.journey.said.values()
                if said.input_id == input_id and not said.shown and said not in group
            ][:1]
        return group

    def _ack(self, message_id: str) -> None:
        event = TransportEvent(user_message_id=message_id, event_type="ack", sent_message_id="7")
        self.world.server.push("c.event", event.to_json())

    def _check_screen(self, message: dict[str, Any]) -> None:
        text, size = message["content"], self.world.config.get("screen_size", 160)
        length, limit = (septets(text), size) if is_gsm(text) else (utf16_units(text), -(-size * 7 // 8) // 2)
        if length > limit and message["session_event"] is not None and message["in_reply_to"]:
            self._problem(f"{length} on a screen of {limit}: {text!r}")
        if message["session_event"] == "close" and NEXT in text.split("\n"):
            self._problem(f"there is more, and the session is closed: {text!r}")

    def _reply_to(self, input_id: str) -> Optional[dict[str, Any]]:
        for message in self.world.to(self.address):
            if message["in_reply_to"] == input_id:
                return message
        return None

    # -- when all is over ------------------------------------------------------------------------

    def check(self) -> None:
        """Each message that Turn has a 200 for is shown once, or Turn was told that it was not."""
        for said in self.journey.said.values():
            if not said.message_id:
                continue
            self.world.seen["taken"] += 1
            self.world.seen["not shown"] += not said.shown
            shown, statuses = said.shown, self.world.statuses.get(said.message_id, [])
            if not shown and "failed" not in statuses:
                self._problem(f"{said.name} was taken, and not shown")
            if shown and "failed" in statuses and not self._amnesia(0):
                self._problem(f"{said.name} was shown, and Turn was told that it was not")
            if len(set(shown)) > 1 and not self.world.may_show_twice():
                self._problem(f"{said.name} was shown under several ids")
            if len(shown) > 1 and not self.world.failed_since(0, *ANY):
                self._problem(f"{said.name} was shown {len(shown)} times")
            if shown and not statuses and not self._amnesia(0):
                self._problem(f"{said.name} has no status")

    def _amnesia(self, since: float) -> bool:
        """Whether a worker may have lost what the person sees, or have shown it again."""
        lost = ["shown again", "redis"] if self.world.shared else ["shown again", "kill", "stop"]
        return self.world.failed_since(since - 10, *lost)

    def _problem(self, text: str) -> None:
        faults = [f"{fault}@{at - self.world.clock.seconds():.1f}" for at, fault in self.world.faults[-6:]]
        self.world.problems.append(f"{self.address}, {'USSD' if self.ussd else 'SMS'}: {text}; faults {faults}")


ANY = ("nack", "connection", "kill", "stop", "redis")


def _without_keys(page: str) -> str:
    return "\n".join(line for line in page.split("\n") if line not in (NEXT, BACK))
