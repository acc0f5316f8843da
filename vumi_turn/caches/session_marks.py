"""
What a message's ``transport_metadata`` says about the session it is in.

No key is common to all transports. Many give the network's id of the session
(``session_id``, ``transaction_id``); some give values that differ from message
to message; some give nothing. Two messages are told apart only by what both of
them say.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from functools import lru_cache
from typing import Any, Iterator, Mapping

#: The last part of a key that names a session: ``session_id``, ``ussdSessionID``, ``transaction_id``.
_NAMES_SESSION = re.compile(r"(session|transaction|dialog|dialogue)(id|identifier)?$|^tid$")
#: Values that are kept of one message at most, and how deep they are looked for.
MOST = 16
DEPTH = 3
#: Characters of a value that is kept as it is; of a longer one its digest is.
LONGEST = 40

Marks = Mapping[str, str]

#: The same for every message that says nothing.
_NONE: Marks = {}


def marks_of(transport_metadata: Mapping[str, Any]) -> Marks:
    """
    The values by which a session's messages may be known.

    :param transport_metadata: as in the message; it is not changed.
    :return: each value by its path; only those of keys that name a session,
        where there are such keys.
    """
    if not transport_metadata:
        return _NONE
    marks: dict[str, str] = {}
    for path, value in _leaves(transport_metadata, "", DEPTH):
        if len(marks) == MOST:
            break
        marks[path] = _text(value)
    named = {path: value for path, value in marks.items() if _names_session(path)}
    return named or marks


def told_apart(session: Marks, message: Marks, named_only: bool = False) -> bool:
    """
    Whether a message is in another session than these marks are of.

    :param named_only: look at the keys that name a session only. A message
        that resumes a session may differ in anything else.
    """
    if session == message:
        return False
    shared = session.keys() & message.keys()
    named = {path for path in shared if _names_session(path)}
    compared = named if named or named_only else shared
    return any(session[path] != message[path] for path in compared)


def common(session: Marks, message: Marks) -> Marks:
    """The marks of a session once one more of its messages is known: what differs within it is no mark."""
    if session == message or all(message.get(path, value) == value for path, value in session.items()):
        return session
    return {path: value for path, value in session.items() if message.get(path, value) == value}


def _leaves(value: Mapping[str, Any], path: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key in sorted(value, key=str) if len(value) > 1 else value:
        below = sys.intern(f"{path}/{key}")
        if isinstance(value[key], dict) and depth > 1:
            yield from _leaves(value[key], below, depth - 1)
        elif value[key] is not None:
            yield below, value[key]


@lru_cache(maxsize=1000)
def _names_session(path: str) -> bool:
    last = path.rpartition("/")[2].lower().replace("_", "").replace("-", "")
    return _NAMES_SESSION.search(last) is not None


def _text(value: Any) -> str:
    text = value if type(value) is str else json.dumps(value, sort_keys=True)
    if len(text) <= LONGEST:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
