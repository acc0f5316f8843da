"""What Turn says to one person in a :class:`~tests.channel.simulated_world.World`, and what it is as text."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

#: Words of many scripts: of pages too.
WORDS = (
    "Take the red book to the clinic on any weekday from eight until noon",
    "Isa buka e khubelu tleliniking letsatsi le leng le le leng la beke",
    "Tänk på barnet: 3 [tre] mål mat om dagen {minst} kostar 5 € ~ inte mer",
    "ሰላም ለሁሉም ሰው ይሁን ዛሬ ጤና ጣቢያ ይምጡ",
    "خذ الكتاب الأحمر إلى العيادة في أي يوم من أيام الأسبوع",
    "क्लिनिक में लाल किताब ले जाएँ किसी भी दिन सुबह आठ बजे",
    "Go 👩🏽‍⚕️ now 👨‍👩‍👧‍👦 with 🇱🇸 and é́ ok",
)


@dataclass
class Said:
    """
    A message of Turn's.

    :ivar name: a word in its text that no other message has.
    :ivar lines: of the text; a pair is a choice's title and description.
    :ivar input_id: what it answers.
    :ivar message_id: what Turn was told; empty until it has its 200.
    :ivar shown: the ids of the messages that were published with it.
    """

    name: str
    lines: list[Any]
    turn: dict[str, Any]
    waits: bool
    input_id: str
    message_id: str = ""
    shown: list[str] = field(default_factory=list)


class Journey:
    """
    Makes messages.

    :param rng: draws them.
    :param prefix: of each message's name.
    :param ussd: whether they are answers in a session, where keys turn pages.
    :ivar said: all messages, by name.
    """

    def __init__(self, rng: random.Random, prefix: str, ussd: bool) -> None:
        self._rng = rng
        self._prefix = prefix
        self._ussd = ussd
        self._count = 0
        self.said: dict[str, Said] = {}

    def numbered(self, group: list[Said]) -> tuple[dict[int, str], list[str]]:
        """The choices and the lines of messages, by another way than the worker's."""
        keys = {98, 0} if self._ussd else set()
        titles: dict[int, str] = {}
        lines = []
        free = iter(number for number in range(1, 1000) if number not in keys)
        for line in (line for said in group for line in said.lines):
            if isinstance(line, tuple):
                number = next(free)
                titles[number] = line[0]
                lines.append(f"{number}. {line[0]}" + (f": {line[1]}" if line[1] else ""))
            else:
                lines.append(line)
        return titles, lines

    def whole(self, group: list[Said]) -> str:
        return bare("\n".join(self.numbered(group)[1]))

    def plan(self, message_id: str, together: bool) -> list[Said]:
        """The messages that answer an input: short ones where they are sent together, because any may be first."""
        parts = self._rng.choice([0, 0, 0, 1, 1, 2])
        plan = [self._short(message_id) for _ in range(parts)]
        waits = self._rng.random() < 0.75
        last = [self._text, self._authored]
        if not together:
            last += [self._menu, self._long, self._long_menu]
        plan.append(self._rng.choice(last)(message_id))
        plan[-1].waits = waits
        return plan

    def _new(self, name: str, message_id: str, lines: list[Any], turn: dict[str, Any]) -> Said:
        said = Said(name, lines, turn, False, message_id)
        self.said[said.name] = said
        return said

    def _text_of(self, name: str, message_id: str, rest: str) -> Said:
        text = name + rest
        return self._new(name, message_id, [text], {"type": "text", "text": {"body": text}})

    def _named(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def _short(self, message_id: str) -> Said:
        name = self._named()
        if self._rng.random() < 0.3:
            turn = {"type": "image", "image": {"caption": name, "link": "http://x"}}
            return self._new(name, message_id, [name, "http://x"], turn)
        return self._text_of(name, message_id, " No.")

    def _text(self, message_id: str) -> Said:
        return self._text_of(self._named(), message_id, " ?")

    def _authored(self, message_id: str) -> Said:
        return self._text_of(self._named(), message_id, "\n1. Yes\n2. No")

    def _long(self, message_id: str) -> Said:
        words = self._rng.choice(WORDS).split() * self._rng.randint(1, 4)
        return self._text_of(self._named(), message_id, f" {' '.join(words)}")

    def _menu(self, message_id: str, body: str = "", most: int = 3) -> Said:
        name = self._named()
        titles = [f"{name} option {letter}" for letter in "abcdefghijkl"[: self._rng.randint(1, most)]]
        if self._rng.random() < 0.5:
            buttons = [{"type": "reply", "reply": {"id": title[-1], "title": title}} for title in titles]
            interactive = {"type": "button", "body": {"text": f"{name} {body}"}, "action": {"buttons": buttons}}
            lines: list[Any] = [f"{name} {body}", *((title, "") for title in titles)]
        else:
            rows = [{"id": title[-1], "title": title, "description": "as you like"} for title in titles]
            sections = [{"title": "Section", "rows": rows[:1]}, {"rows": rows[1:]}]
            interactive = {"type": "list", "body": {"text": f"{name} {body}"}, "action": {"sections": sections}}
            lines = [f"{name} {body}", "Section", *((title, "as you like") for title in titles)]
        return self._new(name, message_id, lines, {"type": "interactive", "interactive": interactive})

    def _long_menu(self, message_id: str) -> Said:
        return self._menu(message_id, self._rng.choice(WORDS), 12)


def bare(text: str) -> str:
    return "".join(text.split())
