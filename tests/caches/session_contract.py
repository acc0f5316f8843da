"""What every session store keeps."""

from __future__ import annotations

from typing import Any

from vumi_turn.caches.session_store import SessionManager


class SessionContract:
    """
    Mixed into a trial TestCase.

    :ivar sessions: a store with a session length of 2 s.
    """

    sessions: SessionManager
    assertEqual: Any

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    async def test_life(self) -> None:
        """A session is what was last saved, with the types of its values; and nothing once it is cleared."""
        self.assertEqual(await self.sessions.load_session("a"), {})
        created = await self.sessions.create_session("a", step=1, words=["é", None], name="3")
        self.assertEqual(type(created.pop("created_at")), float)
        self.assertEqual(created, {"step": 1, "words": ["é", None], "name": "3"})
        saved = await self.sessions.save_session("a", {"step": 2.5})
        self.assertEqual(saved, {"step": 2.5})
        session = await self.sessions.load_session("a")
        session.pop("created_at")
        self.assertEqual(session, {"step": 2.5, "words": ["é", None], "name": "3"})
        self.assertEqual(await self.sessions.load_session("b"), {})
        await self.sessions.clear_session("a")
        await self.sessions.clear_session("a")
        self.assertEqual(await self.sessions.load_session("a"), {})

    async def test_created_again(self) -> None:
        """A session that is created again has nothing of the one before."""
        await self.sessions.create_session("a", old=1)
        await self.sessions.create_session("a", new=1)
        self.assertEqual(set(await self.sessions.load_session("a")), {"created_at", "new"})

    async def test_length(self) -> None:
        """A session ends when its time from the creation is over, also if it was saved meanwhile."""
        await self.sessions.create_session("a")
        await self.pass_time(1)
        await self.sessions.save_session("a", {"x": 1})
        await self.pass_time(0.5)
        self.assertEqual((await self.sessions.load_session("a"))["x"], 1)
        await self.pass_time(1)
        self.assertEqual(await self.sessions.load_session("a"), {})

    async def test_saved_without_creation(self) -> None:
        """What is saved where no session is, is one with the same length."""
        await self.sessions.save_session("a", {"x": 1})
        self.assertEqual(await self.sessions.load_session("a"), {"x": 1})
        await self.pass_time(2.5)
        self.assertEqual(await self.sessions.load_session("a"), {})

    async def test_another_time(self) -> None:
        """A session can be given a time of its own, longer or shorter; one that is not there cannot."""
        await self.sessions.create_session("long")
        await self.sessions.create_session("short")
        await self.sessions.schedule_session_expiry("long", 10)
        await self.sessions.schedule_session_expiry("short", 0.5)
        await self.sessions.schedule_session_expiry("none", 10)
        await self.pass_time(2.5)
        found = [len(await self.sessions.load_session(name)) for name in ("long", "short", "none")]
        self.assertEqual(found, [1, 0, 0])

    async def test_values(self) -> None:
        """What was given may be changed without changing what is kept."""
        words = ["a"]
        session = await self.sessions.create_session("a", words=words)
        words.append("b")
        session["words"].append("c")
        self.assertEqual((await self.sessions.load_session("a"))["words"], ["a"])
