"""Bad requests: each gets its error as JSON, publishes nothing, and spoils nothing for the next good one."""

from __future__ import annotations

import copy
import json
from typing import Any, Iterator

from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import SIGNATURE, Response, outbound, sign
from tests.integration.vumi_words import inbound, new_id, new_person

EIGHT_MB = 8 * 1024 * 1024
LIMIT = 262144

MISSING = object()

#: A value of each type that JSON has.
VALUES = {"null": None, "a number": 7, "a string": "text", "a list": ["text"], "an object": {"a": "text"}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good request in which one field, named with its parents, is another one or missing."""
    request = copy.deepcopy(outbound(new_person()))
    *parents, key = path.split(".")
    place = request
    for parent in parents:
        place = place[parent]
    if value is MISSING:
        del place[key]
    else:
        place[key] = value
    return request


class BadInputCase(BridgeCase):
    """What every bad request leads to."""

    def refused(self, answer: Response, status: int, title: str) -> str:
        """Check an error, and that only the next, good request is published; returns the details."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/json")
        self.assertEqual(sorted(answer.json), ["errors"])
        error = answer.error
        self.assertEqual(sorted(error), ["code", "details", "title"])
        self.assertEqual((error["code"], error["title"]), (status, title))
        self.assertNotIn("Traceback", error["details"])
        self.good()
        details: str = error["details"]
        self.assertTrue(details)
        return details

    def good(self) -> None:
        """A good request works, and nothing else was published."""
        answer = self.http.post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        published = self.peer.take_all(self.rig.queue("outbound"))
        self.assertEqual([json.loads(body)["message_id"] for body in published], [answer.message_id])


class SignatureTests(BadInputCase):
    """Nothing is believed that is not signed."""

    connector = "bad_signature"

    def test_signatures(self) -> None:
        """A signature that is missing, wrong, of another body or of strange bytes is a mismatch."""
        body = json.dumps(outbound(new_person())).encode()
        right = sign(SECRET, body)
        for name, signature in (
            ("wrong", "d3Jvbmc="),
            ("of another body", sign(SECRET, body + b" ")),
            ("of another secret", sign("another", body)),
            ("cut short", right[:-2]),
            ("twice", right + right),
            ("not base64", "%%%"),
            ("not ASCII", b"\xff\xfe\x80"),
            ("UTF-8", "\u00e9\u4e2d".encode()),
            ("blank", b" "),
        ):
            with self.case(name):
                answer = self.http.request("POST", self.http.path, body, {SIGNATURE: signature})
                self.refused(answer, 401, "SignatureMismatchError")

    def test_unsigned(self) -> None:
        """Without a signature nothing is even parsed."""
        for body in (json.dumps(outbound(new_person())).encode(), b"", b"not JSON", b"\xff"):
            answer = self.http.post_bytes(body, signature="")
            self.refused(answer, 401, "SignatureMismatchError")

    def test_secret_stays_secret(self) -> None:
        """The answer tells neither the secret nor the right signature."""
        body = json.dumps(outbound(new_person())).encode()
        answer = self.http.post_bytes(body, signature="d3Jvbmc=")
        self.assertEqual(answer.status, 401)
        self.assertNotIn(SECRET.encode(), answer.body)
        self.assertNotIn(sign(SECRET, body).encode(), answer.body)


class BodyTests(BadInputCase):
    """Bodies that are no request."""

    connector = "bad_body"

    def test_not_json(self) -> None:
        """What cannot be decoded is said to be so."""
        for body in (
            b"",
            b" ",
            b"not JSON",
            b'{"to": "+1", "turn"',
            b'{"to": NaN}',
            b'{"to": "\xff\xfe"}',
            json.dumps(outbound()).encode("utf-16"),
            20_000 * b"[" + 20_000 * b"]",
            10_000 * b'{"a":' + b"1" + 10_000 * b"}",
        ):
            with self.case(repr(body[:50])):
                self.refused(self.http.post_bytes(body), 400, "JsonDecodeError")

    def test_not_an_object(self) -> None:
        """JSON that is no object is not a request, and the error names what it is."""
        for value, kind in (([], "list"), ([{}], "list"), ("text", "string"), (None, "null"), (7, "number")):
            details = self.refused(self.http.post(value), 400, "ApiUsageError")
            self.assertIn(kind, details)

    def test_fields(self) -> None:
        """A field that is missing or of the wrong type is named, with what it should be."""
        for path, value in _wrong_fields():
            with self.case(f"{path}: {value!r}"):
                details = self.refused(self.http.post(changed(path, value)), 400, "ApiUsageError")
                self.assertIn(path, details)

    def test_unsupported_types(self) -> None:
        """A kind of message that cannot be carried, and has no text beside it, is named."""
        for kind in ("template", "reaction", "TEXT", "", "x" * 10_000):
            request = {**changed("turn.type", kind), "content": None}
            details = self.refused(self.http.post(request), 400, "UnsupportedMessageType")
            self.assertIn(kind[:20], details)
            self.assertLess(len(details), 500)

    def test_strange_but_json(self) -> None:
        """What JSON allows and text does not is a usage error, or is sent; never a bug of ours."""
        for body in (
            b'{"to": "\\ud800", "turn": {"type": "text", "text": {"body": "x"}}}',
            b'{"to": "+1", "turn": {"type": "text", "text": {"body": "\\udfff\\ud800"}}}',
            b'{"to": "+1", "to": 7, "turn": {"type": "text", "text": {"body": "x"}}}',
            b'{"to": "+1", "turn": {"type": "text", "text": {"body": "x"}}, "n": 1' + 5_000 * b"0" + b"}",
            b'\xef\xbb\xbf{"to": "+1", "turn": {"type": "text", "text": {"body": "x"}}}',
        ):
            answer = self.http.post_bytes(body)
            self.assertIn(answer.status, (200, 400), answer.body)
            self.peer.take_all(self.rig.queue("outbound"))
            self.good()


class ReplyTests(BadInputCase):
    """Replies to nothing."""

    connector = "bad_reply"

    def test_unknown(self) -> None:
        """A reply to a message that nobody knows is not found."""
        for name in (new_id(), "x", "../..", "\u4e2d", "x" * 10_000):
            self.refused(self.http.post(outbound(reply_to=name)), 404, "MessageNotFound")

    def test_of_another_person(self) -> None:
        """A reply to one person's message cannot go to another person."""
        said = self.say(inbound())
        self.delivered(said)
        answer = self.http.post(outbound(new_person(), reply_to=said["message_id"]))
        self.assertIn("reply_to", self.refused(answer, 400, "ApiUsageError"))


class RequestTests(BadInputCase):
    """Requests that are no POST of a message at all."""

    connector = "bad_request"

    def test_too_large(self) -> None:
        """8 MB are refused, with their length told or untold, signed or not, and before they are read."""
        piece = 65536 * b"x"
        pieces = [piece] * (EIGHT_MB // len(piece))
        signed = {SIGNATURE: sign(SECRET, b"".join(pieces))}
        for headers in (signed, {}):
            for chunked in (False, True):
                length = {} if chunked else {"Content-Length": str(EIGHT_MB)}
                answer, _ = self.http.post_pieces(pieces, {**headers, **length}, chunked)
                self.refused(answer, 413, "BodyTooLarge")
                self.assertLess(answer.seconds, 3)

    def test_not_read_into_memory(self) -> None:
        """Twenty bodies of 8 MB leave the worker about as large as it was."""
        piece = 65536 * b"x"
        pieces = [piece] * (EIGHT_MB // len(piece))
        self.http.post_pieces(pieces, {}, True)
        before = self.peak_kb()
        for _ in range(20):
            answer, _ = self.http.post_pieces(pieces, {}, True)
            self.assertEqual(answer.status, 413)
        self.assertLess(self.peak_kb() - before, 4096)

    def peak_kb(self) -> int:
        """The largest resident size that the worker has had."""
        with open(f"/proc/{self.worker.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    def test_at_the_limit(self) -> None:
        """A body of exactly the limit is taken, one byte more is not; so in chunks."""
        empty = len(json.dumps(outbound(context="")).encode())
        body = json.dumps(outbound(context=(LIMIT - empty) * "x")).encode()
        self.assertEqual(len(body), LIMIT)
        self.assertEqual(self.http.post_bytes(body).status, 200)
        for chunked in (False, True):
            for text, status in ((body, 200), (body + b" ", 413)):
                length = {} if chunked else {"Content-Length": str(len(text))}
                headers = {SIGNATURE: sign(SECRET, text), **length}
                answer, _ = self.http.post_pieces([text[:1000], text[1000:]], headers, chunked)
                self.assertEqual(answer.status, status, answer.body)
        self.peer.take_all(self.rig.queue("outbound"))

    def test_methods(self) -> None:
        """Another method is not allowed, and the answer says which one is."""
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            answer = self.http.request(method, self.http.path)
            self.refused(answer, 405, "MethodNotAllowed")
            self.assertEqual(answer.headers["allow"], "POST")

    def test_paths(self) -> None:
        """Another path is not found, whatever it is asked."""
        for method, path in (
            ("GET", "/"),
            ("GET", "/nowhere"),
            ("POST", "/message"),
            ("POST", "/messages/7"),
            ("GET", "/messages/../health/x"),
            ("GET", "/%ff%00"),
        ):
            with self.case(path):
                self.refused(self.http.request(method, path), 404, "NotFound")


def _wrong_fields() -> Iterator[tuple[str, Any]]:
    required = {
        "to": "a string",
        "turn": "an object",
        "turn.type": "a string",
        "turn.text": "an object",
        "turn.text.body": "a string",
    }
    for path, right in required.items():
        if path != "turn.type":  # with a text it is not needed
            yield path, MISSING
        for kind, value in VALUES.items():
            if kind != right:
                yield path, value
    yield "to", ""
    for path in ("from", "reply_to"):
        for kind in ("a number", "a list", "an object"):
            yield path, VALUES[kind]
    for kind in ("a number", "a string", "a list", "an object"):
        yield "waiting_for_user_input", VALUES[kind]
