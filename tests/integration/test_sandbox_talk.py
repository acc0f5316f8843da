"""
What people, a journey and an agent say to each other on the sandbox's page, in
a real browser. Tests leave pictures in ``artefacts/``; look at them after the
page was changed.
"""

from __future__ import annotations

from typing import Any

from tests.cases import case
from tests.integration.sandbox_page import ENTER, NUMBER, PageCase
from tests.integration.waiting import SOON, wait_for
from vumi_turn.conversation.gsm import is_gsm, septets, utf16_units


class TalkTests(PageCase):
    def test_ussd_session(self) -> None:
        """A USSD session from dialling to closing, with the keypad; its opening and end are lines on both sides."""
        self.browser.picture("first-sight")
        self.shows("#session", "No session")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome to the clinic line.")
        self.shows("#session", "Session open on *120*8864#")
        self.shows("#left", "of 160")
        self.browser.click("#keypad button:nth-child(1)")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Which day suits you?")
        self.browser.picture("ussd-open")
        self.browser.click("#keypad button:nth-child(2)")
        self.browser.click("#ussd-send")
        self.shows("#screen", "Your visit is booked for Wednesday.")
        self.shows("#session", "Session closed")
        self.shows("#talk > li.bubble:last-of-type, #talk", "✓ sent")
        for side in ("#steps", "#talk"):
            self.shows(side, "Session opened: dialled *120*8864#")
            self.shows(side, "Session ended by the service")
        self.browser.picture("ussd-closed")

    def test_hang_up(self) -> None:
        """A session that the person ends says so on both sides; Call dials the last code again."""
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome")
        self.browser.click("#ussd-end")
        self.shows("#session", "No session")
        self.shows("#talk", "Session ended: the person hung up")
        self.browser.click("#ussd-send")
        self.shows("#session", "Session open on *120*8864#")

    def test_sms_delivered(self) -> None:
        """An SMS is answered, and the answer's statuses tick in: sent, then delivered."""
        self.send_sms("Hello")
        self.shows("#talk > li:nth-child(1)", "Hello")
        self.shows("#texts > li:nth-child(2)", "Welcome to the clinic line.")
        self.shows("#talk > li:nth-child(2)", "✓ sent")
        self.shows("#talk > li:nth-child(2)", "✓ delivered")

    def test_agent(self) -> None:
        """An agent's answer that would end the session is hinted at; with the tick it stays open."""
        self.browser.click("#journey")
        wait_for(lambda: not self.sandbox.api.get("/api/state")["journey"], "the journey to be off")
        self.browser.click("#ussd-send")
        self.shows("#talk", "*120*8864#")
        self.browser.fill("#turn-input", "What is your name?")
        self.shows("#closing", f"This answer ends the USSD session of {NUMBER}")
        self.browser.picture("closing-hint")
        self.browser.click("#waiting")
        self.assertTrue(self.hidden("#closing"))
        self.write("#turn-input", "What is your name?")
        self.shows("#screen", "What is your name?")
        self.write("#ussd-input", "Thandi")
        self.shows("#talk", "Thandi")
        self.browser.click("#waiting")
        self.write("#turn-input", "Goodbye Thandi.")
        self.shows("#screen", "Goodbye Thandi.")
        self.shows("#session", "Session closed")

    def test_cost(self) -> None:
        """While an agent types, outside a session, the page says what it costs; so does what came by SMS."""
        self.browser.fill("#turn-input", "a" * 160)
        self.shows("#cost", "1 SMS: 160 of 160 GSM characters")
        self.browser.press("{")
        self.shows("#cost", "costs 2 SMS: 162 of 306 GSM characters")
        self.browser.press(ENTER)
        self.browser.click("#tab-sms")
        self.shows("#texts > li:last-child", "2 SMS")
        self.browser.fill("#turn-input", "ა" * 71)
        self.shows("#cost", "costs 2 SMS: 71 of 134 UCS-2 characters")
        self.browser.picture("cost")
        self.browser.fill("#turn-input", "")

    def test_lengths(self) -> None:
        """The page counts an SMS as the worker counts a screen, and in as many parts as networks send it in."""
        texts = [chr(code) for code in range(0x20, 0x500)] + ["€" * 80, "€" * 81, "a" * 152 + "€" + "b" * 10, "😀" * 36]
        code = """
        const done = arguments[arguments.length - 1];
        import("/sms.js").then(({ smsLength }) => done(arguments[0].map((text) => Object.values(smsLength(text)))));
        """
        found = self.browser.driver.execute_async_script(code, texts)
        for text, (parts, used, _, unit) in zip(texts, found, strict=True):
            with case(text=text):
                gsm = is_gsm(text)
                self.assertEqual((unit, used), ("GSM", septets(text)) if gsm else ("UCS-2", utf16_units(text)))
                self.assertEqual(parts, {"€" * 81: 2, "a" * 152 + "€" + "b" * 10: 2, "😀" * 36: 2}.get(text, 1))

    def test_two_people(self) -> None:
        """Each number has a phone, a conversation and a draft of its own; an SMS that was not looked at is told."""
        self.browser.click("#tab-sms")
        self.browser.fill("#sms-input", "to the first")
        self.browser.click("#tab-ussd")
        self.sandbox.sms("+26687654321", "I am somebody else")
        wait_for(lambda: len(self.browser.all("#person option")) == 2, "the other conversation", SOON)
        self.assertEqual(self.browser.all("#talk > li"), [])
        self.browser.find("#person option:first-child").click()
        self.shows("#talk", "I am somebody else")
        self.assertEqual(self.browser.find("#number").get_attribute("value"), "+26687654321")
        self.assertEqual(self.browser.find("#sms-input").get_attribute("value"), "")
        self.shows("#tab-sms", "1 new")
        self.browser.click("#tab-sms")
        self.shows("#texts", "Welcome to the clinic line.")
        self.assertEqual(self.browser.text("#tab-sms"), "SMS")
        self.browser.fill("#number", NUMBER)
        self.assertEqual(self.browser.find("#sms-input").get_attribute("value"), "to the first")

    def test_odd_number(self) -> None:
        """A number that is none is said to be none, in plain words, and nothing is asked for."""
        self.browser.fill("#number", "12")
        self.browser.click("#ussd-send")
        self.shows("#number-problem", "A phone number has 3 to 15 digits")
        self.browser.fill("#number", NUMBER)
        self.browser.click("#ussd-send")
        self.shows("#screen", "Welcome")
        self.assertEqual(self.browser.text("#number-problem"), "")

    def test_shapes(self) -> None:
        """Turn's side shows buttons as buttons, lists with their rows, and pictures as such."""
        buttons: dict[str, Any] = {"type": "button", "body": {"text": "Sure?"}}
        buttons["action"] = {"buttons": [{"type": "reply", "reply": {"id": "y", "title": "Yes"}}]}
        rows = [{"id": "m", "title": "Monday", "description": "babies"}]
        choice: dict[str, Any] = {"type": "list", "body": {"text": "Day?"}}
        choice["action"] = {"button": "Choose", "sections": [{"title": "Week", "rows": rows}]}
        for turn in (
            {"type": "interactive", "interactive": buttons},
            {"type": "interactive", "interactive": choice},
            {"type": "image", "image": {"link": "https://clinic.example/open.png", "caption": "We are open."}},
        ):
            body = {"text": "as text", "turn": turn, "repeats": False}
            self.sandbox.api.call("POST", f"/api/conversations/{NUMBER}", body)
        self.shows("#talk .buttons", "Yes")
        self.shows("#talk .menu", "Monday")
        self.shows("#talk .menu .section", "Week")
        self.shows("#talk figure", "https://clinic.example/open.png")
        self.browser.picture("shapes")


class JourneyTests(PageCase):
    """The built-in journey, with all that a channel turns into texts for a phone."""

    def say(self, text: str, words: str) -> None:
        """Answer in the session, and wait for words on the screen."""
        self.write("#ussd-input", text)
        self.shows("#screen", words)

    def test_choices(self) -> None:
        """Buttons and a list are numbered lines on the phone; Turn is told the title; a wrong answer is one screen."""
        self.browser.click("#ussd-send")
        self.shows("#screen", "1. Book a visit")
        self.shows("#talk .buttons", "Opening hours")
        self.say("7", "That is no answer we know.\nWelcome")
        self.shows("#messages", "joined")
        self.say("1", "1. Monday: babies")
        self.shows("#talk .menu", "Wednesday")
        self.shows("#talk", "Book a visit")
        self.shows("#messages", "chose Book a visit")
        self.browser.click("#messages li:nth-child(4) > button")
        self.shows("#messages .opened", "turn_joining")
        self.browser.picture("journey-list")
        self.say("3", "Your visit is booked for Friday.")
        self.shows("#session", "Session closed")

    def test_pages(self) -> None:
        """A long text has pages, each within the screen; the key turns them, and Turn is not asked."""
        self.browser.click("#ussd-send")
        self.shows("#screen", "3. Advice")
        self.say("3", "98. More")
        self.shows("#left", "of 160")
        self.say("98", "as always")
        self.say("98", "Goodbye.")
        self.shows("#session", "Session closed")
        self.shows("#messages", "page turned")
        self.browser.picture("journey-pages")

    def test_picture(self) -> None:
        """A picture is its words and its link on the phone, and a picture at Turn."""
        self.browser.click("#ussd-send")
        self.shows("#screen", "2. Opening hours")
        self.say("2", "https://clinic.example/open.png")
        self.shows("#talk figure", "https://clinic.example/open.png")


GREETER = """
from vumi_turn.vumi.application import ApplicationWorker


class Greeter(ApplicationWorker):
    async def consume_user_message(self, message):
        await self.reply_to(message, f"Hello, {message.from_addr}!", continue_session=False)
"""


class OwnWorkerTests(PageCase):
    own = True
    config = {"transport_name": "greetings"}
    flags = ("--worker-class", "greeter.Greeter")

    def prepare(self) -> None:
        (self.folder / "greeter.py").write_text(GREETER)

    def test_greeter(self) -> None:
        """The same phone and messages around a worker of one's own, without Turn."""
        self.browser.click("#ussd-send")
        self.shows("#screen", f"Hello, {NUMBER}!")
        self.shows("#session", "Session closed")
        self.shows("#worker-name", "Greeter")
        self.shows("#messages", "handled")
        self.shows("#messages", "Hello")
        for selector in ("#node-turn", "#turn", "#tab-parked"):
            self.assertTrue(self.hidden(selector), selector)
        self.browser.picture("own-worker")
