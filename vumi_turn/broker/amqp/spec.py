"""The AMQP 0-9-1 definition that txamqp works by, read once for the process."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable

from txamqp.spec import Class, Constant, Method, Spec, get_docs, load_fields, pythonize
from txamqp.xmlutil import parse_string

#: Says of what RabbitMQ may send and what we send which fields it has.
SPEC_FILE = Path(__file__).with_name("amqp-0-9-1.xml")


@functools.lru_cache(maxsize=None)
def load_spec() -> Any:
    """
    The definition as txamqp's ``Spec``, read when the first connection is made and then kept.

    txamqp's own loader compiles two Python functions for each method, which
    takes four times as long as all the rest and more memory. Here a channel's
    methods are closures over the definition.
    """
    root = parse_string(SPEC_FILE.read_bytes())["amqp"][0]
    spec = Spec(int(root["@major"]), int(root["@minor"]), SPEC_FILE.name)
    for node in root["constant"]:
        spec.constants.add(Constant(spec, node["@name"], int(node["@value"]), node.get("@class"), get_docs(node)))
    types = {node["@name"]: node["@type"] for node in root["domain"]}
    for node in root["class"]:
        spec.classes.add(_class_of(spec, node, types))
    methods = (method for klass in spec.classes for method in klass.methods)
    callers = {pythonize(f"{method.klass.name}_{method.name}"): _caller(method) for method in methods}
    spec.klass = type(f"Amqp{spec.major}{spec.minor}", (), callers)
    return spec


def _class_of(spec: Spec, node: Any, types: dict[str, str]) -> Class:
    klass = Class(spec, node["@name"], int(node["@index"]), node["@handler"], get_docs(node))
    load_fields(node, klass.fields, types)
    for each in node["method"]:
        method = Method(
            klass,
            each["@name"],
            int(each["@index"]),
            each.get_bool("@content", False),
            [answer["@name"] for answer in each["response"]],
            each.get_bool("@synchronous", False),
            each.text,
            get_docs(each),
        )
        load_fields(each, method.fields, types)
        klass.methods.add(method)
    for method in klass.methods:
        method.responses = [klass.methods.byname[name] for name in method.responses]
        for answer in method.responses:
            answer.response = True
    return klass


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
