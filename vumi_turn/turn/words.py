"""
Turn's own words in a refusal, without what they may quote of a message.

Pure functions. What comes out may stand in a failure message and in a trace;
it never goes into a log line.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any, Iterable, Mapping
from urllib.parse import quote, quote_plus

from ..vumi.messages.encoding import is_deep

#: Characters of Turn's words that are kept.
MAX_WORDS = 500

#: What stands in place of what is not shown.
MASK = "***"

#: A text that is quoted in part is recognised from so many of its characters on.
LEAST_QUOTED = 8

#: A part of an address is recognised from so many digits on.
LEAST_DIGITS = 5

#: Texts of a payload that say nothing of a person, by the names above them.
_NOT_PERSONAL = frozenset(
    {("message", "id"), ("message", "type"), ("message", "timestamp"), ("status", "id"), ("status", "status")}
    | {("status", "timestamp"), ("interactive", "type")}
)

# Compiled where they are used first, and kept by re: nothing needs them until Turn refuses something.
_TOKEN = r"(?i)\b(bearer|token|basic)(\s+|\s*[:=]\s*\"?)[A-Za-z0-9._~+/=-]{8,}"
_JWT = r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*"
_TAG = r"(?s)<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>"
_NUMBER = r"\d(?:[\s().-]?\d)+"
_SPACE = r"\s+"


def personal_texts(payload: Mapping[str, Any]) -> list[str]:
    """
    What a body for Turn says of a person: content, address and name.

    :param payload: see :mod:`vumi_turn.turn.payloads`.
    """
    found: list[str] = []
    _gather(payload, ("", ""), found)
    return found


def _gather(value: Any, names: tuple[str, str], found: list[str]) -> None:
    if isinstance(value, str):
        if names not in _NOT_PERSONAL:
            found.append(value)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            _gather(part, (names[1], name), found)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _gather(part, names, found)


def masked_words(body: bytes, personal: Iterable[str], tokens: Iterable[str] = ()) -> str:
    """
    What the body of an answer says, on one line.

    Texts of the message are masked also where they are quoted in part, in
    other letter case, or escaped as in JSON, HTML or a URL.

    :param body: as much of it as is to be looked at.
    :param personal: the message's content, and the person's address and name.
    :param tokens: what is never shown, wherever it comes from.
    :return: at most :data:`MAX_WORDS` characters.
    """
    text = _one_line(_text_of(body))
    texts = {_one_line(one) for one in (*tokens, *personal)} - {""}
    forms = sorted({form for one in texts for form in _forms_of(one)}, key=len, reverse=True)
    for form in forms:  # all of them whole, before a part of one spoils another
        text = _whole(form).sub(MASK, text)
    for form in forms:
        text = _without_parts(text, form)
    for one in texts:
        text = _without_digits(text, one)
    text = re.sub(_TOKEN, lambda found: f"{found[1]}{found[2]}{MASK}", text)
    text = re.sub(_JWT, MASK, text)
    text = re.sub(r"\*\*\*(?:\s*\*\*\*)+", MASK, text).strip()
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


# -- what a body says --------------------------------------------------------


def _text_of(body: bytes) -> str:
    """The text of JSON's errors, of a web page, or of anything else."""
    if body.startswith(b"\x1f\x8b"):
        return "(compressed)"
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, (dict, list)) and is_deep(said):
        said = None  # sentences() could not walk through it
    if isinstance(said, dict):
        errors = said.get("errors", said.get("error"))
        return "; ".join(sentences(errors)) or _plain_json(said)
    if said is not None:
        return said if isinstance(said, str) else _plain_json(said)
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        return html.unescape(re.sub(_TAG, " ", text))
    return text


def _plain_json(value: Any) -> str:
    """JSON in which no escapes hide what is quoted."""
    return json.dumps(value, ensure_ascii=False)


def sentences(said: Any, name: str = "") -> list[str]:
    """
    The texts within an error of Turn's, each after the name of its field.

    Source: Turn's errors are ``{"errors": [{"code", "title", "details"}]}``;
    those of validation have an object of field names instead of the list.
    """
    if isinstance(said, Mapping):
        code, title = said.get("code"), said.get("title")
        first = " ".join(str(one) for one in (code, title) if isinstance(one, (str, int)))
        rest = [
            sentence
            for key, value in said.items()
            if key not in ("code", "title")
            for sentence in sentences(value, key)
        ]
        return [": ".join(part for part in (first, ", ".join(rest)) if part)] if first else rest
    if isinstance(said, (list, tuple)):
        return [sentence for one in said for sentence in sentences(one, name)]
    if said is None or said == "":
        return []
    text = said if isinstance(said, str) else _plain_json(said)
    return [text if name in ("", "details", "detail", "message") else f"{name} {text}"]


def _one_line(text: str) -> str:
    return re.sub(_SPACE, " ", "".join(c if c.isprintable() or c.isspace() else "?" for c in text)).strip()


# -- masking -----------------------------------------------------------------


def _forms_of(one: str) -> set[str]:
    """A text in each form that it may be quoted in."""
    escaped = {json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1], html.escape(one)}
    encoded = one.encode("utf-8", "replace")
    return {one, quote(encoded, ""), quote_plus(encoded), *escaped}


def _whole(form: str) -> re.Pattern[str]:
    """Finds a form; a short one only where it stands for itself, not inside a word."""
    found = re.escape(form)
    if len(form) < 4:
        found = rf"(?<!\w){found}(?!\w)"
    return re.compile(found, re.IGNORECASE)


def _without_parts(text: str, form: str) -> str:
    """A text without the parts of a form that are :data:`LEAST_QUOTED` characters or longer."""
    if len(form) <= LEAST_QUOTED:
        return text
    folded, wanted = _folded(text), _folded(form)
    there = {folded[at : at + LEAST_QUOTED] for at in range(len(folded) - LEAST_QUOTED + 1)}
    starts: dict[str, list[int]] = {}
    for start in range(len(wanted) - LEAST_QUOTED + 1):
        if (piece := wanted[start : start + LEAST_QUOTED]) in there:
            starts.setdefault(piece, []).append(start)
    parts: list[str] = []
    at = kept = 0
    while at <= len(text) - LEAST_QUOTED:
        candidates = starts.get(folded[at : at + LEAST_QUOTED])
        if candidates is None:
            at += 1
            continue
        length = max(_common(folded, at, wanted, start) for start in candidates[:50])
        parts += [text[kept:at], MASK]
        at = kept = at + length
    return "".join([*parts, text[kept:]])


def _folded(text: str) -> str:
    """Letter case apart, and of the same length."""
    return "".join(lower if len(lower := c.lower()) == 1 else c for c in text)


def _common(text: str, at: int, wanted: str, start: int) -> int:
    length = LEAST_QUOTED
    most = min(len(text) - at, len(wanted) - start)
    while length < most and text[at + length] == wanted[start + length]:
        length += 1
    return length


def _without_digits(text: str, one: str) -> str:
    """A text without an address that is written otherwise: with spaces, or without its first digits."""
    digits = "".join(c for c in one if c.isdigit())
    if len(digits) < LEAST_DIGITS or len(digits) < len(one) / 2:
        return text

    def mask(found: re.Match[str]) -> str:
        written = "".join(c for c in found[0] if c.isdigit())
        national = written.lstrip("0")
        hides = len(national) >= LEAST_DIGITS and (national in digits or digits in written)
        return MASK if hides else found[0]

    return re.sub(_NUMBER, mask, text)
