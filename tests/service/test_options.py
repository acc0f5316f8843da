"""The flags of ``vumi_worker``."""

from __future__ import annotations

from tests.cases import case
from tests.service.case import BRIDGE, ECHO, OptionsCase
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.vumi.application import ApplicationWorker


class Undocumented(ApplicationWorker):
    __doc__ = None


class WorkerFlagTests(OptionsCase):
    def test_worker_class(self) -> None:
        """``--worker-class`` is needed."""
        self.assertEqual(self.options().worker_class_name, ECHO)
        self.assertEqual(self.refusal(worker_class=None), "please specify --worker-class")

    def test_old_name(self) -> None:
        """``--worker_class`` does the same and warns; beside the new one it is the new one that counts."""
        self.assertEqual(self.options("--worker_class", "old.Class", worker_class=None).worker_class_name, "old.Class")
        self.assertEqual(self.options("--worker_class", "old.Class").worker_class_name, ECHO)
        warnings = self.flushWarnings()
        self.assertEqual([warning["category"] for warning in warnings], [DeprecationWarning] * 2)
        self.assertIn("use --worker-class", warnings[0]["message"])

    def test_config(self) -> None:
        """``--config`` is the worker's file; without one there are no options."""
        self.assertEqual(self.options().worker_config, {})
        path = self.file("worker.yaml", {"connector_name": "demo", "max_retries": 5})
        self.assertEqual(self.options("--config", path).worker_config, {"connector_name": "demo", "max_retries": 5})

    def test_set_option(self) -> None:
        """``--set-option`` lays values over the file, as texts; the last of one name counts."""
        path = self.file("worker.yaml", {"connector_name": "demo", "max_retries": 5})
        options = self.options(
            "--config", path, "--set-option", "max_retries:6", "--set-option", "max_retries:7",
            "--set-option", "http_bind:[::1]:80", "--set-option", "turn_api_url:https://h:1/x",
            "--set-option", "empty:",
        )  # fmt: skip
        self.assertEqual(
            options.worker_config,
            {
                "connector_name": "demo",
                "max_retries": "7",
                "http_bind": "[::1]:80",
                "turn_api_url": "https://h:1/x",
                "empty": "",
            },
        )

    def test_set_option_without_a_name(self) -> None:
        """What is not ``key:value`` is refused, and a value is not shown."""
        self.assertEqual(self.refusal("--set-option", "key"), "--set-option wants key:value, not 'key'")
        self.assertNotIn("marker", self.refusal("--set-option", ":marker"))

    def test_set_option_shows_no_value(self) -> None:
        """What may be a secret with the wrong sign before it is not repeated."""
        for wrong in ("auth_token=marker", "auth_token marker"):
            with case(wrong=wrong):
                self.assertEqual(self.refusal("--set-option", wrong), "--set-option wants key:value, not 'auth_token'…")

    def test_broken_file(self) -> None:
        """A file that cannot be used ends the start, and is named."""
        for path in ("nowhere.yaml", self.file("worker.yaml", "a: [1\nb: 2\n"), self.file("list.yaml", "- a\n")):
            with case(path=path):
                (line,) = self.ended(self.options, "--config", path)
                self.assertTrue(line.startswith(path), line)

    def test_logs(self) -> None:
        """What a log can look like is told where it is asked for something else."""
        options = self.options("--log-format", "json", "--log-level", "debug")
        self.assertEqual((options["log-format"], options["log-level"]), ("json", "debug"))
        self.assertEqual(self.refusal("--log-format", "xml"), "--log-format must be one of text, json, not 'xml'")
        self.assertIn("debug, info, warn, error, not 'loud'", self.refusal("--log-level", "loud"))

    def test_maxthreads(self) -> None:
        """A number of threads that is none is refused by name."""
        for text in ("many", "0", "-1", "1.5"):
            with case(text=text):
                self.assertEqual(
                    self.refusal("--maxthreads", text), f"maxthreads must be a whole number, 1 or more, not {text!r}"
                )

    def test_help(self) -> None:
        """``--worker-help`` prints what the class and each option of its config is, and ends well."""
        ending = self.assertRaises(SystemExit, self.options, "--worker-help", worker_class=BRIDGE)
        self.assertEqual(ending.code, 0)
        self.assertIn("Connects a vumi connector to Turn's Channels API.", self.out.getvalue())
        for name in TurnChannelsApiConfig.known_names() - {"transport_name", "worker_concurrency"}:
            self.assertRegex(self.out.getvalue(), rf"(?m)^:param .* {name}:$")

    def test_help_without_words(self) -> None:
        """A class without documentation still shows its options; the file of its config is not needed."""
        flags = ("--worker-help", "--config", "nowhere.yaml")
        ending = self.assertRaises(SystemExit, self.options, *flags, worker_class=f"{__name__}.Undocumented")
        self.assertEqual(ending.code, 0)
        self.assertIn("connector_name", self.out.getvalue())

    def test_help_for_nothing(self) -> None:
        """``--worker-help`` for a class that is not there ends with a line that names it."""
        (line,) = self.ended(self.options, "--worker-help", worker_class="no.such.Worker")
        self.assertIn("no.such.Worker", line)
