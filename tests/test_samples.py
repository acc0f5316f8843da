"""The sample configs in ``etc`` load once the environment has the secrets, and name every option."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.configuration.files import SettingsError, load_yaml
from vumi_turn.service.broker_options import DEFAULTS
from vumi_turn.service.options import VumiOptions

ETC = Path(__file__).parent.parent / "etc"
SECRETS = {"TURN_CHANNEL_TOKEN": "t", "TURN_HMAC_SECRET": "s"}


class SampleTests(SynchronousTestCase):
    def test_worker(self) -> None:
        """The worker's sample is a valid configuration without unknown options."""
        data = load_yaml(str(ETC / "turn_channels.yaml"), environ=SECRETS)
        config = TurnChannelsApiConfig(data)
        self.assertEqual(config.connector_name, "turn_sms")
        self.assertEqual(TurnChannelsApiConfig.unknown_keys(data), [])

    def test_secrets_from_the_environment(self) -> None:
        """Secrets come from the environment, and one that is not there is named."""
        data = load_yaml(str(ETC / "turn_channels.yaml"), environ=SECRETS)
        self.assertEqual((data["auth_token"], data["turn_hmac_secret"]), ("t", "s"))
        error = self.assertRaises(SettingsError, load_yaml, str(ETC / "turn_channels.yaml"), environ={})
        self.assertIn("the environment has no TURN_CHANNEL_TOKEN", str(error))

    def test_every_option(self) -> None:
        """Each option is in the sample, at its default where it is commented out."""
        text = (ETC / "turn_channels.yaml").read_text()
        named = set(re.findall(r"^(?:# )?([a-z_]+):", text, re.MULTILINE))
        self.assertEqual(set(TurnChannelsApiConfig._fields) - named, set())

    def test_defaults(self) -> None:
        """The numbers that the sample shows as defaults are the defaults."""
        text = (ETC / "turn_channels.yaml").read_text()
        shown = dict(re.findall(r"^# ([a-z_]+): ([0-9]+)$", text, re.MULTILINE))
        self.assertGreater(len(shown), 8)
        fields = TurnChannelsApiConfig._fields
        self.assertEqual(
            {name: float(value) for name, value in shown.items()}, {name: float(fields[name].default) for name in shown}
        )

    def test_vumi(self) -> None:
        """The sample for --vumi-config gives the documented defaults."""
        options = VumiOptions()
        options.parseOptions(["--vumi-config", str(ETC / "vumi.yaml")])
        self.assertEqual({name: options.vumi_options[name] for name in DEFAULTS}, dict(DEFAULTS))
