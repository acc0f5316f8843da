"""What every store of Turn's requests does, whatever it is made of: mixed into a test case for each."""

from __future__ import annotations

from typing import Any

from vumi_turn.caches.requests import Claim, RequestStore, Step

PERSON = "+26612345678"

NEW = Claim("m1", Step.PUBLISH, is_new=True)
AGAIN = Claim("m1", Step.PUBLISH)
ANSWER = Claim("m1", Step.ANSWER)


class RequestStoreContract:
    """The promises of :class:`vumi_turn.caches.requests.RequestStore`, with a repeat window of 5 s."""

    store: RequestStore
    assertEqual: Any

    async def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    async def hear(self, message_id: str, person: str = PERSON) -> None:
        """Consume a message from a person."""
        raise NotImplementedError

    async def claim(self, new_id: str = "m1", key: bytes = b"s1", store: Any = None) -> Claim:
        """What a request is."""
        return await (store or self.store).claim(key, new_id, PERSON)

    async def test_new(self) -> None:
        """A body that is not known is a new message; another body is another one."""
        self.assertEqual(await self.claim(), NEW)
        self.assertEqual(await self.claim("m2", b"s2"), Claim("m2", Step.PUBLISH, is_new=True))

    async def test_refused(self) -> None:
        """What the broker has not taken is published again under its id."""
        await self.claim()
        self.store.refused(b"s1", "m1")
        self.assertEqual(await self.claim("m2"), AGAIN)

    async def test_confirmed(self) -> None:
        """What the broker has is answered, whatever has passed since, as long as no 200 was written."""
        await self.claim()
        self.store.confirmed(b"s1", "m1")
        await self.let_pass(60)
        await self.hear("in1")
        self.assertEqual(await self.claim("m2"), ANSWER)

    async def test_forgotten(self) -> None:
        """What could not be built is looked at afresh."""
        await self.claim()
        self.store.forget(b"s1", "m1")
        self.assertEqual(await self.claim("m2"), Claim("m2", Step.PUBLISH, is_new=True))

    async def answered(self, was_read: bool = True) -> None:
        await self.claim()
        self.store.confirmed(b"s1", "m1")
        self.store.answered(b"s1", "m1", PERSON, was_read)

    async def test_within_the_window(self) -> None:
        """In the window after a 200 it is the same message; each 200 begins a window."""
        await self.answered()
        await self.let_pass(4)
        self.assertEqual(await self.claim("m2"), ANSWER)
        self.store.answered(b"s1", "m1", PERSON)
        await self.let_pass(4)
        self.assertEqual(await self.claim("m3"), ANSWER)

    async def test_after_the_window(self) -> None:
        """After it the same body is a new message, which is known to have been answered before."""
        await self.answered()
        await self.let_pass(5.1)
        self.assertEqual(await self.claim("m2"), Claim("m2", Step.PUBLISH, is_new=True, answered_before=True))
        self.store.confirmed(b"s1", "m2")
        self.assertEqual(await self.claim("m3"), Claim("m2", Step.ANSWER))

    async def test_person_has_spoken(self) -> None:
        """Within the window it is a new message where that person has written since the 200, and no other."""
        await self.hear("in1")
        await self.answered()
        await self.hear("in2", "+999")
        self.assertEqual(await self.claim("m2"), ANSWER)
        await self.hear("in3")
        self.assertEqual(await self.claim("m3"), Claim("m3", Step.PUBLISH, is_new=True, answered_before=True))

    async def test_person_has_spoken_for_the_first_time(self) -> None:
        """So it is where the person has written nothing before."""
        await self.answered()
        await self.hear("in1")
        self.assertEqual((await self.claim("m2")).message_id, "m2")

    async def test_heard_again(self) -> None:
        """A message that is redelivered is not another one."""
        await self.hear("in1")
        await self.answered()
        await self.hear("in1")
        self.assertEqual(await self.claim("m2"), ANSWER)

    async def test_unread(self) -> None:
        """Where the 200 may not have been read the window is longer, unless the person writes."""
        await self.answered(was_read=False)
        await self.let_pass(6)
        self.assertEqual(await self.claim("m2"), ANSWER)
        await self.hear("in1")
        self.assertEqual((await self.claim("m3")).message_id, "m3")

    async def test_late_answer(self) -> None:
        """A 200 of an earlier message with the same body changes nothing for the later one."""
        await self.answered()
        await self.let_pass(5.1)
        await self.claim("m2")
        self.store.refused(b"s1", "m2")
        self.store.answered(b"s1", "m1", PERSON)
        self.assertEqual(await self.claim("m3"), Claim("m2", Step.PUBLISH))

    async def test_confirmed_too_late(self) -> None:
        """What is noted too late of an answered message does not open it again."""
        await self.answered()
        self.store.confirmed(b"s1", "m1")
        await self.let_pass(5.1)
        self.assertEqual((await self.claim("m2")).message_id, "m2")

    async def test_nobody_else(self) -> None:
        """No other worker has yet to answer what is not known."""
        self.assertEqual(await self.store.awaits_answer("m1"), False)
