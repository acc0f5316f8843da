"""The AMQP 0-9-1 definition that txamqp works by, read once for the process."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable
from xml.parsers.expat import ParserCreate

from txamqp.spec import Class, Constant, Field, Method, Spec, pythonize

#: Says of what RabbitMQ may send and what we send which fields it has.
SPEC_FILE = Path(__file__).with_name("amqp-0-9-1.xml")


@functools.lru_cache(maxsize=None)
def load_spec() -> Any:
    """
    The definition as txamqp's ``Spec``, read when the first connection is made and then kept.

    txamqp's own loader builds a tree of the file and compiles two Python
    functions for each method: five times the time and the memory. Here a
    channel's methods are closures over the definition.
    """
    reader = _Reader()
    parser = ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.Parse(SPEC_FILE.read_bytes(), True)
    spec = reader.spec
    methods = (method for klass in spec.classes for method in klass.methods)
    callers = {pythonize(f"{method.klass.name}_{method.name}"): _caller(method) for method in methods}
    spec.klass = type(f"Amqp{spec.major}{spec.minor}", (), callers)
    return spec


class _Reader:
    """Makes the definition, element by element, of those that our file has."""

    def __init__(self) -> None:
        self.spec: Any = None
        self._types: dict[str, str] = {}
        self._klass: Any = None
        #: What the fields belong to: a method, or the class itself.
        self._owner: Any = None

    def start(self, element: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        name = attributes.get("name")
        if element == "amqp":
            self.spec = Spec(int(attributes["major"]), int(attributes["minor"]), SPEC_FILE.name)
        elif element == "constant":
            constant = Constant(self.spec, name, int(attributes["value"]), attributes.get("class"), [])
            self.spec.constants.add(constant)
        elif element == "domain":
            self._types[attributes["name"]] = attributes["type"]
        elif element == "class":
            self._klass = self._owner = Class(self.spec, name, int(attributes["index"]), attributes["handler"], [])
            self.spec.classes.add(self._klass)
        elif element == "method":
            flags = [attributes.get(flag) == "1" for flag in ("content", "synchronous")]
            self._owner = Method(self._klass, name, int(attributes["index"]), flags[0], [], flags[1], "", [])
            self._klass.methods.add(self._owner)
        elif element == "response":
            self._owner.responses.append(name)
        else:
            fields = self._owner.fields
            fields.add(Field(name, len(fields), self._types[attributes["domain"]], []))

    def end(self, element: str) -> None:
        """An element ends."""
        if element == "method":
            self._owner = self._klass
        elif element == "class":
            for method in self._klass.methods:
                method.responses = [self._klass.methods.byname[name] for name in method.responses]
                for answer in method.responses:
                    answer.response = True


def _caller(method: Method) -> Callable[..., Any]:
    """A channel's function that sends a method: its fields by place or by name, each with a default."""
    defaults = {pythonize(field.name): Method.DEFAULTS[field.type] for field in method.fields}
    if method.content:
        defaults["content"] = None

    def call(channel: Any, *values: Any, **named: Any) -> Any:
        placed = dict(zip(defaults, values, strict=False))
        if len(values) > len(defaults) or placed.keys() & named or named.keys() - defaults.keys():
            raise TypeError(f"{method.klass.name}.{method.name} takes each of {list(defaults)} at most once")
        fields = {**defaults, **placed, **named}
        content = fields.pop("content", None)
        return channel.invoke(method, tuple(fields.values()), content)

    return call
