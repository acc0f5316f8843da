"""
What the cache writes to Redis, and the scripts that write it.

Each value is compared as a whole before it is replaced, so that a value has
one form only: the same JSON for the same thing.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from ..vumi.messages import MalformedMessage, TransportUserMessage
from .documents import Document
from .person import Person
from .tables import Record

# Keys: the message, the person, the set of workers. Arguments: the record or
# empty where the message has to be new, the person as expected, the new record,
# the new person (empty: unchanged), the timeout in ms.
# Answer: how many workers there are, or what is there where it is not what was expected.
ADD_INBOUND = """
local record = redis.call('GET', KEYS[1]) or ''
local person = redis.call('GET', KEYS[2]) or ''
if (ARGV[1] == '') ~= (record == '') or person ~= ARGV[2] then return {record, person} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5]) end
return redis.call('SCARD', KEYS[3])
"""

# Keys: what is replaced. Arguments: its value as expected (empty: not there),
# the new one (empty: remove it), the timeout in ms.
# Answer: nothing, or what is there where it is not what was expected.
REPLACE = """
local value = redis.call('GET', KEYS[1]) or ''
if value ~= ARGV[1] then return {value} end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return nil
"""

# Keys: any number. Arguments: the timeout in ms, then a value for each key (empty: remove it).
PUT = """
for i, key in ipairs(KEYS) do
    local value = ARGV[i + 1]
    if value == '' then redis.call('DEL', key) else redis.call('SET', key, value, 'PX', ARGV[1]) end
end
return nil
"""

# The same for keys that are not there.
PUT_NEW = """
for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1], 'NX') end
return nil
"""

# Keys: any number. Arguments: the timeout in ms, from now on; then a value for each key that is not there (any more).
KEEP = """
for i, key in ipairs(KEYS) do
    if redis.call('PEXPIRE', key, ARGV[1]) == 0 then redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1]) end
end
return nil
"""

GET = "return redis.call('GET', KEYS[1])"

# Keys: the person, the worker, the set of workers. Arguments: the worker's
# count, its timeout in ms. That Redis writes shows that the other workers'
# writes are not refused. Answer: the person, and how many workers there are.
GET_PERSON = """
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {redis.call('GET', KEYS[1]), redis.call('SCARD', KEYS[3])}
"""

# Keys: the set of workers. Arguments: our id, our count, a worker's timeout in
# ms, what comes before a worker's id in its key.
# Answer: the ids and counts of the workers that there are.
HEARTBEAT = """
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 10 * ARGV[3])
redis.call('SET', ARGV[4] .. ARGV[1], ARGV[2], 'PX', ARGV[3])
local found = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local count = redis.pcall('GET', ARGV[4] .. id)
    if type(count) == 'string' then
        found[#found + 1] = id
        found[#found + 1] = count
    else
        redis.call('SREM', KEYS[1], id)
    end
end
return found
"""

# Keys: the set of workers, the worker. Arguments: its id.
LEAVE = """
redis.call('SREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2])
"""

# Another one after a restart or a fail-over: the data may be older than it was.
RUN_ID = "return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')"

# Keys that hold another type, or what cannot be read.
REMOVE = "return redis.call('DEL', unpack(KEYS))"


def encode_record(record: Record) -> str:
    """A message, and the session it is in."""
    body = record.message.to_json()
    return f"{record.token}\n{body.decode('ascii') if isinstance(body, bytes) else body}"


def decode_record(value: bytes) -> Optional[Record]:
    """A record; None for what is none."""
    token, found, body = value.partition(b"\n")
    if not found:
        return None
    try:
        return Record(TransportUserMessage.from_json(body), token.decode("ascii"))
    except (MalformedMessage, UnicodeDecodeError):
        return None


def encode_person(person: Optional[Person]) -> str:
    """A person; empty for None."""
    if person is None:
        return ""
    marks = dict(sorted(person.marks.items()))
    return _json(
        [person.message_id, person.token, person.stamp, person.seen, person.session, marks, int(person.closed)]
    )


def decode_person(value: bytes) -> Optional[Person]:
    """A person; None for what is none."""
    try:
        message_id, token, stamp, seen, session, marks, closed = json.loads(value)
        person = Person(message_id, token, int(stamp), int(seen), session, dict(marks), bool(closed))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (message_id, token, session, *person.marks, *person.marks.values())
    return person if all(isinstance(text, str) for text in texts) else None


def encode_document(document: Optional[Document]) -> str:
    """A document; empty for None."""
    return "" if document is None else _json(document)


def decode_document(value: bytes) -> Optional[Document]:
    """A document; None for what is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
