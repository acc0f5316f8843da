"""The configuration of many channels."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.channel.fleet_config import TurnChannelsConfig, channel_specs
from vumi_turn.channel.worker import TurnChannelsApi


def channel(name: str, **options: Any) -> dict[str, Any]:
    """One channel's options."""
    return {
        "connector_name": name,
        "turn_api_url": f"https://turn.example/v1/numbers/{name}",
        "default_from_addr": "8864",
        "auth_token": f"token-of-{name}",
        "turn_hmac_secret": f"secret-of-{name}",
        **options,
    }


class Subclass(TurnChannelsApi):
    """A class of somebody's own."""


class SpecTests(SynchronousTestCase):
    def specs(self, *channels: Any, **top: Any) -> list[Any]:
        specs, errors = channel_specs({"http_bind": "127.0.0.1:8080", "channels": list(channels), **top})
        self.assertEqual(errors, [])
        return specs

    def errors(self, *channels: Any, **top: Any) -> list[str]:
        return channel_specs({"http_bind": "127.0.0.1:8080", "channels": list(channels), **top})[1]

    def test_defaults(self) -> None:
        """A channel has the defaults, and its own options win."""
        one, two = self.specs(
            channel("one"), channel("two", max_retries=1), defaults={"max_retries": 5, "request_timeout": 9}
        )
        self.assertEqual((one.options["max_retries"], one.options["request_timeout"]), (5, 9))
        self.assertEqual((two.options["max_retries"], two.options["request_timeout"]), (1, 9))

    def test_alias(self) -> None:
        """A default gives way to the channel's option also under its other name."""
        (one,) = self.specs(channel("one", worker_concurrency=3), defaults={"amqp_prefetch_count": 7})
        self.assertEqual(TurnChannelsApi.CONFIG_CLASS(one.options).amqp_prefetch_count, 3)

    def test_path(self) -> None:
        """A channel's path is its name, percent-encoded, where it gives none."""
        one, two = self.specs(channel("ussd+lesotho ü"), channel("two", vumi_api_path="/somewhere"))
        self.assertEqual(one.options["vumi_api_path"], "/ussd%2Blesotho%20%C3%BC")
        self.assertEqual(two.options["vumi_api_path"], "/somewhere")

    def test_worker_class(self) -> None:
        """A channel may name a class of its own, a subclass of TurnChannelsApi."""
        one, two = self.specs(channel("one"), channel("two", worker_class=f"{__name__}.Subclass"))
        self.assertEqual((one.worker_class, two.worker_class), (TurnChannelsApi, Subclass))
        self.assertNotIn("worker_class", two.options)
        (error,) = self.errors(channel("one", worker_class="vumi_turn.vumi.examples.EchoWorker"))
        self.assertEqual(
            error, "channels[0] (one).worker_class must be TurnChannelsApi or a subclass of it, not EchoWorker"
        )
        (error,) = self.errors(channel("one", worker_class="vumi_turn.NoSuchClass"))
        self.assertIn("channels[0] (one).worker_class", error)

    def test_same_name(self) -> None:
        """Two channels with one name are refused, naming both."""
        errors = self.errors(channel("one"), channel("two"), channel("one"))
        self.assertEqual(
            errors,
            ["channels[2] (one).connector_name is that of channels[0] (one) too: a connector has one channel"],
        )

    def test_same_path(self) -> None:
        """Two channels with one path are refused, naming both."""
        (error,) = self.errors(channel("one"), channel("two", vumi_api_path="/one"))
        self.assertEqual(error, "channels[1] (two).vumi_api_path is that of channels[0] (one) too: /one")

    def test_reserved_path(self) -> None:
        """A path that the process answers itself is refused."""
        for path in ("/health", "/live", "/metrics"):
            with case(path=path):
                (error,) = self.errors(channel("one", vumi_api_path=path))
                self.assertIn("channels[0] (one).vumi_api_path", error)
        (error,) = self.errors(channel("health"))
        self.assertIn("channels[0] (health).vumi_api_path", error)

    def test_process_options(self) -> None:
        """What is the process's own is an error in a channel and in the defaults."""
        errors = self.errors(
            channel("one", http_bind="127.0.0.1:1", management_password="x"), defaults={"standby": True}
        )
        self.assertEqual(
            errors,
            [
                "defaults.standby is the process's own: put it at the top",
                "channels[0] (one).http_bind is the process's own: put it at the top",
                "channels[0] (one).management_password is the process's own: put it at the top",
            ],
        )

    def test_not_channels(self) -> None:
        """What is no channel is told by its place."""
        errors = self.errors("one", {"turn_api_url": "https://x"})
        self.assertEqual(
            errors,
            [
                "channels[0] must be a mapping of options, not str",
                "channels[1].connector_name is missing: each channel has a connector of its own",
            ],
        )
        self.assertEqual(self.errors(), ["channels must have at least one channel"])


class UnknownKeyTests(SynchronousTestCase):
    def test_told_by_place(self) -> None:
        """What is no option is told by where it stands: at the top, in the defaults or in a channel."""
        found = TurnChannelsConfig.unknown_keys(
            {
                "http_bindd": "127.0.0.1:1",
                "defaults": {"join_windo": 0},
                "channels": [channel("one", worker_class="vumi_turn.TurnChannelsApi", max_retrys=1), channel("two")],
            }
        )
        self.assertEqual(
            found,
            [
                ("http_bindd", "did you mean http_bind?"),
                ("channels[0] (one).max_retrys", "did you mean max_retries?"),
                ("defaults.join_windo", "did you mean join_window?"),
            ],
        )


class LaidOverTests(SynchronousTestCase):
    def test_set_options(self) -> None:
        """An option from the command line lies over the top level where it belongs there, else over the defaults."""
        below = {"http_bind": "127.0.0.1:1", "defaults": {"max_retries": 5}, "channels": []}
        laid = TurnChannelsConfig.laid_over(below, {"http_bind": "127.0.0.1:2", "max_retries": "1", "join_window": "2"})
        self.assertEqual(laid["http_bind"], "127.0.0.1:2")
        self.assertEqual(laid["defaults"], {"max_retries": "1", "join_window": "2"})
        self.assertEqual(below["defaults"], {"max_retries": 5})
