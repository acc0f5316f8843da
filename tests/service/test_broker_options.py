"""Where the flags and ``--vumi-config`` find the broker."""

from __future__ import annotations

import os

from tests.cases import case
from tests.service.case import OptionsCase
from vumi_turn.broker.amqp.parameters import ConnectionParameters
from vumi_turn.service.broker_options import DEFAULTS, parameters_from_options


class BrokerFlagTests(OptionsCase):
    def parameters(self, *flags: str) -> ConnectionParameters:
        """Where these flags find the broker."""
        parameters: ConnectionParameters = parameters_from_options(self.options(*flags).vumi_options)
        return parameters

    def test_defaults(self) -> None:
        """Without flags it is legacy vumi's own set-up on this machine, with heartbeats."""
        self.assertEqual(self.options().vumi_options, dict(DEFAULTS))
        self.assertEqual(
            self.parameters(), ConnectionParameters("127.0.0.1", 5672, "vumi", "vumi", "/develop", 30.0, False, None)
        )

    def test_flags(self) -> None:
        """Each flag of legacy vumi's, and the new ones, arrive."""
        found = self.parameters(
            "--hostname", "rabbit.example", "--port", "5673", "--username", "u", "--password", "p: ä",
            "--vhost", "/x", "--heartbeat", "5", "--amqp-ca-file", "ca.pem",
        )  # fmt: skip
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5673, "u", "p: ä", "/x", 5.0, False, "ca.pem"))

    def test_file(self) -> None:
        """``--vumi-config`` gives any of them, with hyphens or underscores; empty ones keep their default."""
        path = self.file(
            "vumi.yaml",
            {"hostname": "rabbit", "port": 5673, "system-id": "x", "amqp_ca_file": "ca.pem", "vhost": None},
        )
        options = self.options("--vumi-config", path)
        self.assertEqual(
            options.vumi_options,
            {**DEFAULTS, "hostname": "rabbit", "port": 5673, "system-id": "x", "amqp-ca-file": "ca.pem"},
        )
        self.assertEqual(self.warned(), [])

    def test_precedence(self) -> None:
        """A flag wins over the file, and the file over the default; also where the flag says the default."""
        path = self.file("vumi.yaml", {"hostname": "file", "port": 1, "vhost": "/file", "heartbeat": 7})
        found = self.parameters("--vumi-config", path, "--hostname", "flag", "--port", "5672")
        self.assertEqual((found.hostname, found.port, found.vhost, found.username), ("flag", 5672, "/file", "vumi"))
        self.assertEqual(found.heartbeat, 7.0)

    def test_file_with_environment(self) -> None:
        """The file may take values from the environment."""
        self.patch(os, "environ", {"AMQP_PASSWORD": "from the environment"})
        path = self.file("vumi.yaml", "password: !env AMQP_PASSWORD\nport: !env [AMQP_PORT, 5673]\n")
        found = self.parameters("--vumi-config", path)
        self.assertEqual((found.password, found.port), ("from the environment", 5673))

    def test_file_that_is_not_there(self) -> None:
        """A file that cannot be used is named."""
        self.assertIn("nowhere.yaml: cannot be read", self.refusal("--vumi-config", "nowhere.yaml"))
        self.assertIn("vumi.yaml", self.refusal("--vumi-config", self.file("vumi.yaml", "- a\n")))

    def test_file_with_others(self) -> None:
        """What is no option of vumi's is ignored with a warning that names it; so is a worker's."""
        path = self.file("vumi.yaml", {"hostnam": "x", "worker-class": "y"})
        self.assertEqual(self.options("--vumi-config", path).vumi_options, dict(DEFAULTS))
        expected = [
            f"warning: {path}: {name} is no option of vumi, and is ignored" for name in ("hostnam", "worker-class")
        ]
        self.assertEqual(self.warned(), expected)

    def test_specfile(self) -> None:
        """``--specfile`` is accepted and ignored, with a warning."""
        self.options("--specfile", "amqp-spec-0-8.xml")
        self.assertEqual(self.warned(), ["warning: --specfile is ignored: the AMQP definition is built in"])

    def test_arguments(self) -> None:
        """Whatever is no flag is refused by name."""
        expected = "vumi.yaml is not expected here: each value comes after its flag"
        self.assertEqual(self.refusal("vumi.yaml"), expected)
        self.assertEqual(self.refusal("vumi.yaml", "--port", "1"), expected)

    def test_port(self) -> None:
        """A port that is none is refused by name, from a flag and from the file."""
        for port in ("rabbit", "0", "65536", "-1", "5672.5", ""):
            with case(port=port):
                expected = f"port must be a number from 1 to 65535, not {port!r}"
                self.assertEqual(self.refusal("--port", port), expected)
                self.assertEqual(self.refusal("--vumi-config", self.file("vumi.yaml", {"port": port})), expected)

    def test_heartbeat(self) -> None:
        """Heartbeats are from 0, which is off, to 65535 seconds; else they are refused by name."""
        for text, heartbeat in (("0", 0.0), ("0.5", 0.5), ("65535", 65535.0)):
            with case(text=text, heartbeat=heartbeat):
                self.assertEqual(self.parameters("--heartbeat", text).heartbeat, heartbeat)
        for text in ("-1", "65536", "soon", "nan", "inf", ""):
            with case(text=text):
                expected = f"heartbeat must be a number of seconds from 0 to 65535, not {text!r}"
                self.assertEqual(self.refusal("--heartbeat", text), expected)
                self.assertEqual(self.refusal("--vumi-config", self.file("vumi.yaml", {"heartbeat": text})), expected)

    def test_hostname(self) -> None:
        """A broker without a name is refused."""
        self.assertEqual(self.refusal("--hostname", ""), "hostname must not be empty")

    def test_url(self) -> None:
        """``--amqp-url`` names all at once and wins over the single flags, but not over heartbeat and CA file."""
        found = self.parameters(
            "--amqp-url", "amqps://u:p%40@rabbit.example/%2Fx", "--hostname", "other", "--heartbeat", "5",
            "--amqp-ca-file", "ca.pem",
        )  # fmt: skip
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5671, "u", "p@", "/x", 5.0, True, "ca.pem"))

    def test_url_in_the_file(self) -> None:
        """A single flag wins over its part of a URL that the file has; what stands beside that URL does not."""
        url = "amqps://u:p@rabbit.example/%2Fx"
        path = self.file("vumi.yaml", {"amqp-url": url, "hostname": "beside", "vhost": "/beside"})
        found = self.parameters("--vumi-config", path, "--vhost", "/flag", "--port", "5673")
        self.assertEqual(found, ConnectionParameters("rabbit.example", 5673, "u", "p", "/flag", 30.0, True))
        expected = "port must be a number from 1 to 65535, not 'rabbit'"
        self.assertEqual(self.refusal("--vumi-config", path, "--port", "rabbit"), expected)

    def test_password_in_the_environment(self) -> None:
        """AMQP_PASSWORD is the password where neither a flag, nor the file, nor a URL has one."""
        self.patch(os, "environ", {"AMQP_PASSWORD": "secret\n"})
        file = self.file("vumi.yaml", {"password": "of the file"})
        url = self.file("url.yaml", {"amqp-url": "amqp://u@h/"})
        for flags, password in (
            ((), "secret"),
            (("--amqp-url", "amqp://u@h/"), "secret"),
            (("--vumi-config", url), "secret"),
            (("--amqp-url", "amqp://u:p@h/"), "p"),
            (("--vumi-config", file), "of the file"),
            (("--password", "flag"), "flag"),
            (("--vumi-config", url, "--password", "flag"), "flag"),
        ):
            with case(flags=flags, password=password):
                self.assertEqual(self.parameters(*flags).password, password)
        self.assertEqual(self.parameters("--amqp-url", "amqp://u@h/").username, "u")

    def test_password_in_a_file(self) -> None:
        """The file of --vumi-config may take the password from another file."""
        self.file("password", "secret\n")
        path = self.file("vumi.yaml", "password: !file password\n")
        self.assertEqual(self.parameters("--vumi-config", path).password, "secret")

    def test_dirt(self) -> None:
        """A line end after a value is cut; other dirt is an error that names the option, and no password."""
        self.assertEqual(self.parameters("--hostname", "rabbit\n", "--password", "p\n").hostname, "rabbit")
        self.assertIn("hostname has a space, a tab or a line end at its end", self.refusal("--hostname", "rabbit "))
        for flags in (("--password", " marker"), ("--password", '"marker"'), ("--amqp-url", " amqp://u:marker@h/")):
            with case(flags=flags):
                sentence = self.refusal(*flags)
                self.assertIn(f"{flags[0][2:]} has ", sentence)
                self.assertTrue(sentence.endswith(": ***"), sentence)

    def test_wrong_url(self) -> None:
        """A URL that is none is refused without its password."""
        for url in ("http://u:marker@h", "amqp://u:marker@h:99999/", "amqp://u:marker@/"):
            with case(url=url):
                sentence = self.refusal("--amqp-url", url)
                self.assertIn("the AMQP URL", sentence)
                self.assertNotIn("marker", sentence)
