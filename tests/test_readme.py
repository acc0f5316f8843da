"""README.rst says what the program does: its tables are compared with the code."""

from __future__ import annotations

import re

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.readme import block_with, document, table_rows
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.redis import RedisMessageCache
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.service.options import StartWorkerOptions


def names_in(text: str) -> list[str]:
    """The option names of a table's first cell."""
    return re.findall(r"[a-z_]+", text)


class ReadmeTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """It is valid reStructuredText, so that PyPI shows it."""
        self.assertIn("vumi_turn", document().astext())

    def test_options(self) -> None:
        """Each option of the worker is in the table, and nothing else is."""
        named = [name for row in table_rows("Configuration") for name in names_in(row[0])]
        self.assertEqual(sorted(named), sorted(TurnChannelsApiConfig._field_names))

    def test_defaults(self) -> None:
        """The numbers that the table gives as defaults are the defaults."""
        checked = 0
        for row in table_rows("Configuration"):
            numbers = [float(number) for number in re.findall(r"\b[0-9]+\b", row[1])]
            if not numbers:
                continue
            fields = TurnChannelsApiConfig._fields
            self.assertEqual(numbers, [float(fields[name].default) for name in names_in(row[0])], row[0])
            checked += 1
        self.assertGreater(checked, 8)

    def test_cache_options(self) -> None:
        """Each option of the message caches is in their table, with its default."""
        rows = {row[0]: row for row in table_rows("Message caches")}
        memory, redis = MemoryMessageCache.CONFIG_CLASS._fields, RedisMessageCache.CONFIG_CLASS._fields
        self.assertEqual(set(rows), {*memory, *redis})
        for name, field in memory.items():
            self.assertIn(str(int(field.default)), rows[name][1])
        self.assertIn(str(redis["max_messages"].default), rows["max_messages"][2])
        self.assertIn(redis["key_prefix"].default, rows["key_prefix"][1])

    def test_flags(self) -> None:
        """Each flag of the command is in the table, and nothing else is."""
        rows = table_rows("The command's flags")
        flags = {flag.rstrip("=") for flag in StartWorkerOptions().longOpt} - {"help", "version"}
        found = set(re.findall(r"--([a-z_-]+)", " ".join(row[0] for row in rows)))
        # Old names of flags are in the texts.
        found |= flags & set(re.findall(r"--([a-z_-]+)", " ".join(row[1] for row in rows)))
        self.assertEqual(found, flags)

    def test_config(self) -> None:
        """The config that it shows is a valid one, once the environment has the secrets."""

        class Loader(yaml.SafeLoader):
            pass

        Loader.add_constructor("!env", lambda loader, node: f"value-of-{node.value}")
        data = yaml.load(block_with("connector_name: ussd_transport"), Loader)  # noqa: S506 (a SafeLoader)
        config = TurnChannelsApiConfig(data)
        self.assertEqual((config.connector_name, config.default_from_addr), ("ussd_transport", "*120*8864#"))
        self.assertEqual(TurnChannelsApiConfig.unknown_keys(data), [])
