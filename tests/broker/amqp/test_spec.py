"""The AMQP definition, read without compiling code."""

from __future__ import annotations

from typing import Any

import txamqp.spec
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.amqp.spec import SPEC_FILE, load_spec


class _Sender:
    """A channel that hands back what it is to send."""

    def invoke(self, method: Any, fields: tuple[Any, ...], content: Any = None) -> tuple[Any, tuple[Any, ...], Any]:
        return method, fields, content


def _called(spec: Any, name: str) -> tuple[Any, tuple[Any, ...], Any]:
    called: tuple[Any, tuple[Any, ...], Any] = getattr(spec.klass, name)(_Sender())
    return called


def _described_fields(owner: Any) -> list[tuple[Any, ...]]:
    return [(field.name, field.type) for field in owner.fields]


def _described_method(method: Any) -> tuple[Any, ...]:
    answers = [answer.name for answer in method.responses]
    flags = (method.content, method.synchronous, method.response)
    return (method.klass.name, method.name, method.id, flags, answers, _described_fields(method))


def _described(spec: Any) -> list[Any]:
    constants = [(constant.name, constant.id, constant.klass) for constant in spec.constants]
    classes = [(klass.name, klass.id, klass.handler, _described_fields(klass)) for klass in spec.classes]
    methods = [_described_method(method) for klass in spec.classes for method in klass.methods]
    return [spec.major, spec.minor, constants, classes, methods]


class SpecTests(SynchronousTestCase):
    def test_as_txamqp_reads_it(self) -> None:
        """It is what txamqp's own loader makes of the same file, with the same methods of a channel."""
        ours = load_spec()
        theirs = txamqp.spec.load_string(SPEC_FILE.read_bytes())
        self.assertEqual(_described(ours), _described(theirs))
        names = [name for name in vars(theirs.klass) if not name.startswith("__")]
        self.assertEqual([name for name in vars(ours.klass) if not name.startswith("__")], names)
        for name in names:
            with case(name=name):
                method, fields, content = getattr(ours.klass, name)(_Sender())
                self.assertEqual(_described_method(method), _described_method(_called(theirs, name)[0]))
                self.assertEqual((fields, content), _called(theirs, name)[1:])

    def test_a_channels_methods(self) -> None:
        """Fields go by place or by name, once each; content goes beside them."""
        methods = load_spec().classes.byname["basic"].methods.byname
        channel = type("Channel", (_Sender, load_spec().klass), {})()
        self.assertEqual(
            channel.basic_publish(0, "vumi", routing_key="a.inbound", content=b"body"),
            (methods["publish"], (0, "vumi", "a.inbound", False, False), b"body"),
        )
        self.assertEqual(channel.basic_ack(7, True), (methods["ack"], (7, True), None))
        self.assertEqual(channel.basic_ack(multiple=True), (methods["ack"], (0, True), None))
        wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((7,), {"delivery_tag": 7}),
            ((7, True, None), {}),
            ((), {"content": b""}),
            ((), {"tag": 7}),
        ]
        for values, named in wrong:
            with case(values=values, named=named):
                self.assertRaises(TypeError, channel.basic_ack, *values, **named)
