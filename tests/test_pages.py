"""The pages say what the program does: their tables are compared with the code, their examples read."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from typing import Any, Callable

import yaml
from klein import Klein
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.pages import ROOT, block_with, blocks, commands, document, names, requests, table_rows
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.caches.redis import RedisMessageCache
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.channel.fleet_config import TurnChannelsConfig, channel_specs
from vumi_turn.commands.channel import CheckOptions, CreateOptions
from vumi_turn.commands.failures_options import DropOptions, ListOptions, ReplayOptions
from vumi_turn.delivery.circuit_breaker import BreakerState
from vumi_turn.delivery.task import BLOCKED, TRANSITIONS, Event, State
from vumi_turn.monitoring.api import OperatorApi
from vumi_turn.monitoring.management import add_management_routes
from vumi_turn.service.options import StartWorkerOptions, VumiOptions

OPTIONS = "docs/configuration.rst"


class ExampleLoader(yaml.SafeLoader):
    """Reads YAML of ours without an environment and without other files."""


for tag in ("!env", "!file", "!include"):
    ExampleLoader.add_constructor(tag, lambda loader, node: f"value-of-{node.value}")


def from_yaml(text: str) -> Any:
    """What an example configuration says."""
    return yaml.load(text, ExampleLoader)  # noqa: S506 (a SafeLoader)


def names_in(text: str) -> list[str]:
    """The option names of a table's first cell."""
    return re.findall(r"[a-z_]+", text)


class PageTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """Each page is valid reStructuredText; README.rst without Sphinx, so that PyPI shows it."""
        for page in names():
            with case(page=page):
                self.assertTrue(document(page).astext().strip())
        self.assertEqual(re.findall(r":\w+:`|\.\. (?:code-block|toctree)::", (ROOT / "README.rst").read_text()), [])

    def test_length_of_readme(self) -> None:
        """README.rst is short: the rest is in docs."""
        self.assertLessEqual(len((ROOT / "README.rst").read_text("utf-8").splitlines()), 140)

    def test_examples(self) -> None:
        """Each example is valid in the language that it is said to be in."""
        readers: dict[str, Callable[[str], Any]] = {"json": json.loads, "yaml": from_yaml, "python": ast.parse}
        languages = set()
        for block in blocks():
            languages.add(block.language)
            if block.language in readers:
                try:
                    readers[block.language](block.text)
                except (ValueError, SyntaxError, yaml.YAMLError) as error:
                    self.fail(f"{block.page}, {block.section}: {error}\n{block.text}")
        self.assertLessEqual(languages, {*readers, "bash", "text", "ini", ""})

    def test_syntax_of_commands(self) -> None:
        """Each command is valid in a shell."""
        script = "\n".join(commands())
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_files(self) -> None:
        """Each file of etc and of the tests that a page names is there."""
        for page in names():
            with case(page=page):
                text = (ROOT / page).read_text("utf-8")
                for path in re.findall(r"``((?:etc|tests|vumi_turn|docs|benchmarks)/[\w./@-]+)``", text):
                    with case(path=path):
                        if "NAME" not in path:
                            self.assertTrue((ROOT / path).exists(), f"{page} names {path}")


class OptionTests(SynchronousTestCase):
    def test_options(self) -> None:
        """Each option of the worker is in the table, and nothing else is."""
        named = [name for row in table_rows(OPTIONS, "The worker's options") for name in names_in(row[0])]
        self.assertEqual(sorted(named), sorted(TurnChannelsApiConfig._fields))

    def test_options_of_many(self) -> None:
        """Each option of the process of many channels is in the table, and nothing else is."""
        rows = table_rows(OPTIONS, "Options of a worker of many channels")
        named = [name for row in rows for name in names_in(row[0])]
        self.assertEqual(sorted(named), sorted(TurnChannelsConfig._fields))

    def test_config_of_many(self) -> None:
        """The configuration of many channels that is shown is a valid one."""
        data = from_yaml(block_with("connector_name: ussd_lesotho"))
        specs, errors = channel_specs(data)
        self.assertEqual((errors, [spec.name for spec in specs]), ([], ["ussd_lesotho", "sms_lesotho"]))
        for spec in specs:
            with case(spec=spec):
                self.assertEqual(TurnChannelsApiConfig(spec.options).http_bind, "tcp:8080:interface=127.0.0.1")
        self.assertEqual(TurnChannelsConfig.unknown_keys(data), [])

    def test_defaults(self) -> None:
        """The numbers that the table gives as defaults are the defaults."""
        checked = 0
        for row in table_rows(OPTIONS, "The worker's options"):
            with case(row=row):
                numbers = [float(number) for number in re.findall(r"\b[0-9]+\b", row[1])]
                if not numbers:
                    continue
                fields = TurnChannelsApiConfig._fields
                self.assertEqual(numbers, [float(fields[name].default) for name in names_in(row[0])], row[0])
                checked += 1
        self.assertGreater(checked, 8)

    def test_cache_options(self) -> None:
        """Each option of the message caches is in their table, with its default."""
        rows = {row[0]: row for row in table_rows(OPTIONS, "Message caches")}
        memory, redis = MemoryMessageCache.CONFIG_CLASS._fields, RedisMessageCache.CONFIG_CLASS._fields
        self.assertEqual(set(rows), {*memory, *redis})
        for name, field in memory.items():
            with case(name=name, field=field):
                self.assertIn(str(int(field.default)), rows[name][1])
        self.assertIn(str(redis["max_messages"].default), rows["max_messages"][2])
        self.assertIn(redis["key_prefix"].default, rows["key_prefix"][1])

    def test_flags(self) -> None:
        """Each flag of the command is in the table, and nothing else is."""
        rows = table_rows(OPTIONS, "The command's flags")
        flags = {flag.rstrip("=") for flag in StartWorkerOptions().longOpt} - {"help", "version"}
        found = set(re.findall(r"--([a-z_-]+)", " ".join(row[0] for row in rows)))
        # Old names of flags are in the texts.
        found |= flags & set(re.findall(r"--([a-z_-]+)", " ".join(row[1] for row in rows)))
        self.assertEqual(found, flags)

    def test_flags_of_commands(self) -> None:
        """Each flag of the other commands is on the page about operating, but those of the broker."""
        text = (ROOT / "docs/operate.rst").read_text("utf-8")
        told = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))
        brokers = {parameter[0] for parameter in VumiOptions.optParameters} | {"help", "version"}
        flags: set[str] = set()
        for options in (CreateOptions, CheckOptions, ListOptions, ReplayOptions, DropOptions):
            flags |= {flag.rstrip("=") for flag in options().longOpt}
        self.assertEqual(flags - brokers - told, set())

    def test_config(self) -> None:
        """The configuration that is shown is a valid one, once the environment has the secrets."""
        data = from_yaml(block_with("connector_name: ussd_transport"))
        config = TurnChannelsApiConfig(data)
        self.assertEqual((config.connector_name, config.default_from_addr), ("ussd_transport", "*120*8864#"))
        self.assertEqual(TurnChannelsApiConfig.unknown_keys(data), [])


class HttpTests(SynchronousTestCase):
    def test_every_request(self) -> None:
        """The HTTP interfaces of the worker are all on the page, and nothing else is."""
        app = Klein()
        nothing: Any = None  # no request is made
        add_management_routes(app, nothing, nothing, nothing)
        OperatorApi.__new__(OperatorApi).add_routes(app)
        routes = {("POST", "/messages")}
        for rule in app.url_map.iter_rules():
            path = re.sub(r"<\w+>", "(VARIABLE)", rule.rule)
            routes |= {(method, path) for method in rule.methods or () if method != "HEAD"}
        shown = {(one.method, re.sub(r"\(\w+\)", "(VARIABLE)", one.path)) for one in requests("docs/http.rst")}
        self.assertEqual(shown, routes)


class ArchitectureTests(SynchronousTestCase):
    PAGE = "docs/architecture.rst"

    def test_states(self) -> None:
        """The states of a delivery are all in the table; those that are blocked have a star."""
        shown = [row[0] for row in table_rows(self.PAGE, "The states of a task")]
        self.assertEqual(shown, [f"{state.name} *" if state in BLOCKED else state.name for state in State])

    def test_picture(self) -> None:
        """Each state and each event is in the picture."""
        picture = block_with("QUEUED*")
        for state in State:
            with case(state=state):
                self.assertIn(state.name, picture)
        for event in {event for _, event in TRANSITIONS} & set(Event):
            with case(event=event):
                self.assertIn(event.value, picture)
        breaker = block_with("HALF_OPEN")
        for each in BreakerState:
            with case(each=each):
                self.assertIn(each.name, breaker)

    def test_folders(self) -> None:
        """Each folder of the package is in the table."""
        shown = re.findall(r"\w+(?=/)", " ".join(row[0] for row in table_rows(self.PAGE, "The folders")))
        folders = [path.parent.name for path in (ROOT / "vumi_turn").glob("*/__init__.py")]
        self.assertEqual(sorted(shown), sorted(folders))
