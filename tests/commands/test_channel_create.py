"""``vumi_turn_channel create``, with a Turn in memory."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any, Callable, Optional

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from tests.cases import case
from tests.commands.fake_turn import MADE, NUMBER, SECRET, TOKEN, WEBHOOK, ChannelTurn
from vumi_turn.channel.config import TurnChannelsApiConfig
from vumi_turn.commands.channel import ChannelOptions, NoToken, create, token_from
from vumi_turn.commands.channel_create import NUMBERS_URL, ChannelRequest
from vumi_turn.commands.http import MAX_ANSWER, HttpClient
from vumi_turn.configuration.files import load_yaml
from vumi_turn.http.tls import CertificateRefused

FLAGS = (
    "create", "--from-addr", "*120*8864#", "--name", "USSD: #1", "--connector", "ussd_transport",
    "--endpoint", "https://our.host/turn/messages",
)  # fmt: skip


class CreateCase(SynchronousTestCase):
    """A Turn, and the command's output."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = ChannelTurn()
        self.post = HttpClient(self.clock, RequestTraversalAgent(self.turn)).post
        self.out, self.err = io.StringIO(), io.StringIO()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "turn_channels.yaml"

    def start(self, *flags: str) -> Deferred[int]:
        options = ChannelOptions()
        options.parseOptions([*FLAGS, *(flags or ("--output", str(self.path)))])
        return Deferred.fromCoroutine(create(options.subOptions, TOKEN, self.post, self.out, self.err))

    def create(self, *flags: str) -> int:
        return self.successResultOf(self.start(*flags))

    def refused(self, *flags: str) -> str:
        """The one line that it is refused with; nothing is left in the folder, nothing is printed."""
        before = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.assertEqual(self.create(*flags), 1)
        self.assertEqual({path: path.read_bytes() for path in self.folder.iterdir()}, before)
        self.assertEqual(self.out.getvalue(), "")
        lines = self.err.getvalue().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("vumi_turn_channel: "), lines[0])
        self.assertNotIn(TOKEN, lines[0])
        self.err.truncate(self.err.seek(0))
        return lines[0]


class CreateTests(CreateCase):
    def test_request(self) -> None:
        """Turn is asked for a channel of its HTTP API, with the token of a number that exists."""
        self.assertEqual(self.create(), 0)
        self.assertEqual(
            self.turn.asked,
            [
                (
                    "/v1/numbers",
                    f"Bearer {TOKEN}",
                    {
                        "backend_type": "channel",
                        "number_type": "channel_http_api",
                        "from_addr": "*120*8864#",
                        "name": "USSD: #1",
                        "endpoint": "https://our.host/turn/messages",
                    },
                )
            ],
        )

    def test_file(self) -> None:
        """The file is a configuration that the worker starts with, once the channel's token is in the environment."""
        self.assertEqual(self.create(), 0)
        data = load_yaml(str(self.path), {"TURN_CHANNEL_TOKEN": "channel-token"})
        config = TurnChannelsApiConfig(data)
        self.assertEqual(TurnChannelsApiConfig.unknown_keys(data), [])
        self.assertEqual(
            (config.connector_name, config.default_from_addr, config.vumi_api_path, config.auth_token),
            ("ussd_transport", "*120*8864#", "/turn", "channel-token"),
        )
        self.assertEqual(config.turn_api_url, f"{NUMBERS_URL}/{NUMBER}")
        self.assertEqual((config.turn_hmac_secret, config.http_bind), (SECRET, "tcp:8080:interface=127.0.0.1"))
        self.assertIn(WEBHOOK, self.path.read_text("utf-8"))

    def test_file_mode(self) -> None:
        """Only its owner can read the file, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        self.create()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_nothing_secret_is_printed(self) -> None:
        """With a file neither secret nor token is printed; what is to be done next is."""
        self.create()
        said = self.out.getvalue() + self.err.getvalue()
        self.assertNotIn("marker", said)
        self.assertIn(NUMBER, said)
        self.assertIn("TURN_CHANNEL_TOKEN", said)

    def test_show_secret(self) -> None:
        """Where it was asked for, the configuration is printed, with the secret and without the token."""
        self.assertEqual(self.create("--show-secret"), 0)
        self.path.write_text(self.out.getvalue(), "utf-8")
        self.assertEqual(load_yaml(str(self.path), {"TURN_CHANNEL_TOKEN": "x"})["turn_hmac_secret"], SECRET)
        self.assertNotIn(TOKEN, self.out.getvalue())

    def test_strange_names(self) -> None:
        """Whatever the names are, they stay texts of one option."""
        for name in ("yes", "1: 2", "#", "a\nauth_token: x", "é\u2028\U0001f600", "- !env HOME", '"'):
            with case(name=name):
                path = self.folder / "strange.yaml"
                self.assertEqual(self.create("--output", str(path), "--force", "--from-addr", name), 0)
                data = load_yaml(str(path), {"TURN_CHANNEL_TOKEN": "x"})
                self.assertEqual((data["default_from_addr"], data["auth_token"]), (name, "x"))

    def test_no_webhook_uuid(self) -> None:
        """The webhook's uuid is not needed."""
        self.turn.answers(201, {"number": MADE["number"], "webhook": {"hmac_secret": SECRET}})
        self.assertEqual(self.create(), 0)
        self.assertNotIn("webhook", self.path.read_text("utf-8"))

    def test_http_url(self) -> None:
        """A token that goes out without encryption is a warning."""
        self.assertEqual(self.create("--show-secret", "--api-url", "http://turn.example/v1/numbers/"), 0)
        self.assertIn("without encryption", self.err.getvalue())
        self.assertEqual(self.turn.asked[0][0], "/v1/numbers")


class FileTests(CreateCase):
    def test_there_already(self) -> None:
        """A file that is there already stays as it is, and Turn is not asked."""
        self.path.write_text("precious")
        self.assertIn("is there already", self.refused())
        self.assertEqual(self.turn.asked, [])

    def test_force(self) -> None:
        """With --force it is replaced, and then only its owner can read it."""
        self.path.write_text("old")
        self.path.chmod(0o644)
        self.assertEqual(self.create("--output", str(self.path), "--force"), 0)
        self.assertIn(NUMBER, self.path.read_text("utf-8"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_force_and_refused(self) -> None:
        """With --force the old file stays where Turn refuses the channel."""
        self.path.write_text("old")
        self.turn.answers(401)
        self.refused("--output", str(self.path), "--force")
        self.assertEqual(self.path.read_text(), "old")

    def test_link(self) -> None:
        """A link is not followed to where it points."""
        self.path.symlink_to(self.folder / "elsewhere")
        self.assertEqual(self.create(), 1)
        self.assertEqual(self.turn.asked, [])
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_no_such_folder(self) -> None:
        """Where the file cannot be made, Turn is not asked."""
        self.assertIn("cannot be written", self.refused("--output", str(self.folder / "none" / "a.yaml")))
        self.assertEqual(self.turn.asked, [])


class WhereSecretsGoTests(CreateCase):
    """The token's name in the environment, and the secret in a place of its own."""

    def test_token_env(self) -> None:
        """Each channel's token may have a name of its own."""
        self.assertEqual(self.create("--output", str(self.path), "--token-env", "LESOTHO_TOKEN"), 0)
        self.assertEqual(load_yaml(str(self.path), {"LESOTHO_TOKEN": "t"})["auth_token"], "t")
        self.assertIn("LESOTHO_TOKEN", self.out.getvalue())

    def test_secret_file(self) -> None:
        """The secret alone is in a file that only its owner can read, which the configuration names."""
        secret = self.folder / "secret"
        self.assertEqual(self.create("--output", str(self.path), "--secret-file", str(secret)), 0)
        self.assertNotIn("marker", self.path.read_text("utf-8"))
        self.assertEqual(stat.S_IMODE(secret.stat().st_mode), 0o600)
        self.assertEqual(load_yaml(str(self.path), {"TURN_CHANNEL_TOKEN": "t"})["turn_hmac_secret"], SECRET)

    def test_secret_env(self) -> None:
        """The secret may come from the environment too; the file has the line for it."""
        secret = self.folder / "turn.env"
        flags = ("--output", str(self.path), "--secret-file", str(secret), "--secret-env", "LESOTHO_SECRET")
        self.assertEqual(self.create(*flags), 0)
        self.assertEqual(secret.read_text("utf-8"), f"LESOTHO_SECRET={SECRET}\n")
        environ = {"TURN_CHANNEL_TOKEN": "t", "LESOTHO_SECRET": "from there"}
        self.assertEqual(load_yaml(str(self.path), environ)["turn_hmac_secret"], "from there")

    def test_refused(self) -> None:
        """Where Turn refuses the channel, neither file is left."""
        self.turn.answers(401)
        self.refused("--output", str(self.path), "--secret-file", str(self.folder / "secret"))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_secret_file_twice(self) -> None:
        """What can have one place only is refused where two are named, before Turn is asked."""
        for flag in ("--output", "--secret-file", "--secret-env", "--token-env", "--token-file"):
            with case(flag=flag):
                error = self.assertRaises(UsageError, self.start, flag, "one", flag, "two")
                self.assertEqual(str(error), f"create: {flag} is given twice: one channel has one")
        self.assertEqual((self.turn.asked, list(self.folder.iterdir())), ([], []))

    def test_secret_file_that_is_there(self) -> None:
        """A file that is there already is not replaced, and Turn is not asked."""
        secret = self.folder / "secret"
        secret.write_text("old")
        self.assertIn(
            f"{secret} is there already", self.refused("--output", str(self.path), "--secret-file", str(secret))
        )
        self.assertEqual((self.turn.asked, list(self.folder.iterdir())), ([], [secret]))


class AppendTests(CreateCase):
    """Several channels in one file."""

    def append(self, connector: str, *more: str) -> int:
        flags = ("--output", str(self.path), "--append", "--connector", connector)
        return self.create(*flags, "--token-env", f"{connector.upper()}_TOKEN", *more)

    def channels(self, *connectors: str) -> list[dict[str, Any]]:
        found = load_yaml(str(self.path), {f"{name.upper()}_TOKEN": f"of {name}" for name in connectors})["channels"]
        self.assertEqual([one["connector_name"] for one in found], list(connectors))
        return list(found)

    def test_several(self) -> None:
        """A file that is not there begins with the first channel; each further one comes at its end."""
        self.assertEqual(self.append("one"), 0)
        self.assertEqual(self.append("two"), 0)
        found = self.channels("one", "two")
        self.assertEqual([one["auth_token"] for one in found], ["of one", "of two"])
        self.assertEqual({one["turn_hmac_secret"] for one in found}, {SECRET})
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.folder.iterdir()), [self.path])

    def test_what_is_there(self) -> None:
        """What the file has stays as it is, comments and tags too."""
        before = (
            "http_bind: 127.0.0.1:1\ndefaults: {join_window: !env [W, 1]}\nchannels:\n- connector_name: one # here\n"
        )
        before += "  auth_token: !env ONE_TOKEN"
        self.path.write_text(before)
        self.assertEqual(self.append("two"), 0)
        self.assertTrue(self.path.read_text("utf-8").startswith(before + "\n# The channel"))
        self.channels("one", "two")

    def test_refused(self) -> None:
        """A file that cannot be appended to stays as it is, and Turn is not asked."""
        for text, words in (
            ("connector_name: x\n", "is the file of a single channel"),
            ("channels: [{connector_name: two}]\n", "has a channel of the name two already"),
            ("channels: [{connector_name: one}]\n", "put channels: at its end"),
            ("channels:\n  - connector_name: one\nhttp_bind: x\n", "put channels: at its end"),
            ("channels: 5\n", "channels must be a list"),
            ("channels: [\n", "is not YAML"),
        ):
            with case(text=text, words=words):
                self.path.write_text(text)
                self.out.seek(0)
                self.assertEqual(self.append("two"), 1)
                self.assertIn(words, self.err.getvalue())
                self.assertEqual(self.path.read_text(), text)
        self.assertEqual(self.turn.asked, [])
        self.assertEqual(list(self.folder.iterdir()), [self.path])


class RefusalTests(CreateCase):
    def test_statuses(self) -> None:
        """Each of Turn's refusals is one line that says what to do, with exit status 1."""
        details = {"errors": [{"code": 1, "title": "Title", "details": "from_addr is taken"}]}
        for status, body, words in (
            (401, {"errors": [{"title": "Unauthorized"}]}, "does not accept the token (401: Unauthorized)"),
            (403, None, "does not let this token create channels (403)"),
            (404, None, "check --api-url"),
            (422, details, "refuses the channel (422): from_addr is taken"),
            (422, {"errors": {"from_addr": ["has been taken"]}}, "(422): from_addr has been taken"),
            (422, b"<html>", "(422), and does not say why"),
            (400, {"error": "bad"}, "refuses the channel (400): bad"),
            (302, None, "a redirect (302), which is not followed"),
            (500, None, "Turn has failed (500)"),
            (503, b"\xff", "Turn has failed (503)"),
            (418, None, "Turn refuses it (418)"),
        ):
            with case(status=status, body=body, words=words):
                self.turn.answers(status, body)
                self.assertIn(words, self.refused())

    def test_too_many(self) -> None:
        """A 429 says when to try again, where Turn says so."""
        self.turn.answers(429, None, Retry_After="17")
        self.assertIn("try again in 17 s", self.refused())
        self.turn.answers(429, None, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")
        self.assertIn("try again later", self.refused())

    def test_words_are_tamed(self) -> None:
        """Turn's words are one short line, without the token and without what moves a cursor."""
        self.turn.answers(422, {"errors": [{"details": f"no {TOKEN}\r\n\x1b[2J{'long ' * 500}"}]})
        line = self.refused()
        self.assertIn("no *** ?[2J", line)
        self.assertLess(len(line), 400)

    def test_strange_answers(self) -> None:
        """A 2xx that does not hold a channel says what is missing and to look in Turn, and shows nothing of it."""
        for body, words in (
            (b"<html>marker</html>", "is --api-url right"),
            (b"[" * 30_000 + b"]" * 30_000, "nested too deep"),
            ([], "not with a JSON object"),
            ({}, "without number.uuid"),
            ({**MADE, "number": []}, "without number.uuid"),
            ({**MADE, "number": {"uuid": "marker\n../x"}}, "a number.uuid that is no uuid"),
            ({**MADE, "webhook": {"hmac_secret": ""}}, "without webhook.hmac_secret"),
            ({**MADE, "webhook": {"hmac_secret": 5}}, "without webhook.hmac_secret"),
        ):
            with case(body=body, words=words):
                self.turn.answers(200, body)
                line = self.refused()
                self.assertIn(words, line)
                self.assertIn("look in Turn", line)
                self.assertNotIn("marker", line)

    def test_huge_answer(self) -> None:
        """An answer without end is not read to its end."""
        self.turn.answers(200, b"x" * (MAX_ANSWER + 1))
        self.assertIn(f"more than {MAX_ANSWER} bytes", self.refused())

    def test_no_answer(self) -> None:
        """Without an answer in time it is not known whether there is a channel, and that is said."""
        self.turn.silent = True
        done = self.start()
        self.clock.advance(29)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(done), 1)
        self.assertIn("not answered within 30 s. The channel may have been made", self.err.getvalue())
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_no_connection(self) -> None:
        """Where Turn cannot be reached, the reason is said; only where the request may have got there, to look."""
        for error, words, sent in (
            (DNSLookupError(), "the host name was not found", False),
            (ConnectionRefusedError(), "no connection (ConnectionRefusedError)", False),
            (CertificateRefused("the certificate has expired"), "the certificate has expired", False),
            (ResponseNeverReceived([]), "the connection was lost", True),
        ):
            with case(error=error, words=words, sent=sent):
                self.post = HttpClient(self.clock, FailingAgent(error)).post
                line = self.refused()
                self.assertIn(f"no answer from whatsapp.turn.io: {words}", line)
                self.assertEqual("look in Turn" in line, sent)


class FailingAgent:
    """Each request fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def request(self, *args: Any, **kwargs: Any) -> Deferred[Any]:
        failed: Deferred[Any] = Deferred()
        failed.errback(self._error)
        return failed


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp())

    def refused(self, ask: Optional[Callable[[str], str]] = None, path: Optional[str] = None, **environ: str) -> str:
        error = self.assertRaises(NoToken, token_from, path, environ, ask)
        self.assertNotIn("marker", str(error))
        return str(error)

    def test_sources(self) -> None:
        """A file wins over the environment, which wins over asking."""
        self.file.write_text("of-the-file\n")
        environ = {"TURN_TOKEN": " of-the-environment "}
        self.assertEqual(token_from(str(self.file), environ, lambda _: "typed"), "of-the-file")
        self.assertEqual(token_from(None, environ, lambda _: "typed"), "of-the-environment")
        self.assertEqual(token_from(None, {"TURN_TOKEN": ""}, lambda _: "typed"), "typed")

    def test_nowhere(self) -> None:
        """Where there is none and nobody to ask, it says how to give one."""
        self.assertIn("set TURN_TOKEN, or name a file with --token-file", self.refused())

    def test_nobody_answers(self) -> None:
        """A prompt that is left is no traceback."""
        for error in (EOFError, KeyboardInterrupt):
            with case(error=error):

                def leave(_: str, error: type[BaseException] = error) -> str:
                    raise error

                self.assertIn("no token was given", self.refused(leave))

    def test_no_tokens(self) -> None:
        """What cannot be a token is refused before it is sent, and not shown."""
        for text in ("", "marker two", "marker\x00", "markér", "marker\r\nX: y"):
            with case(text=text):
                self.file.write_text(text, "utf-8")
                self.assertIn("is no token", self.refused(path=str(self.file)))

    def test_file(self) -> None:
        """A file that cannot be read is named."""
        self.assertIn(f"cannot be read from {self.file}: No such file", self.refused(path=str(self.file)))
        self.file.write_bytes(b"marker\xff")
        self.assertIn("it is not text", self.refused(path=str(self.file)))


class OptionsTests(SynchronousTestCase):
    def refused(self, *flags: str) -> str:
        return str(self.assertRaises(UsageError, ChannelOptions().parseOptions, list(flags)))

    def test_what_to_do(self) -> None:
        """A subcommand is needed, and the flags without which it can do nothing."""
        self.assertIn("create or check", self.refused())
        self.assertIn("--from-addr is required", self.refused("create"))
        self.assertIn("--config is required", self.refused("check"))
        for command in ("create", "check"):
            with case(command=command):
                self.assertIn("turn.yaml is not expected here", self.refused(command, "turn.yaml"))

    def test_usage(self) -> None:
        """The help of the command and of each subcommand begins with how it is typed."""
        options = ChannelOptions()
        self.assertEqual(options.getSynopsis(), "Usage: vumi_turn_channel create|check [options]")
        options.parseOptions(["check", "--config", "turn.yaml"])
        self.assertEqual(options.subOptions.getSynopsis(), "Usage: vumi_turn_channel check [options]")

    def test_where_the_secret_goes(self) -> None:
        """The secret goes to exactly one place, and it has to be said which."""
        self.assertIn("--output FILE, or --show-secret", self.refused(*FLAGS))
        self.assertIn("--output FILE, or --show-secret", self.refused(*FLAGS, "--show-secret", "--output", "a"))

    def test_wrong_values(self) -> None:
        """Values that the worker could not be started with are refused before a channel is made."""
        for flag, value, words in (
            ("--endpoint", "our.host/messages", "--endpoint must be an http(s) URL"),
            ("--endpoint", "https://our.host/hook", "--endpoint must end with /messages"),
            ("--api-url", "turn.io", "--api-url must be an http(s) URL"),
            ("--connector", "USSD", "--connector must be in lower case"),
            ("--http-bind", "nowhere", "--http-bind must be host:port"),
        ):
            with case(flag=flag, value=value, words=words):
                self.assertIn(words, self.refused(*FLAGS, "--show-secret", flag, value))

    def test_no_flag_for_the_token(self) -> None:
        """There is no flag that takes a token or secret as its value, only names of files and variables."""
        names_of_places = {"token-file", "token-env", "secret-file", "secret-env"}
        options = ChannelOptions()
        options.parseOptions([*FLAGS, "--show-secret"])
        takers = {name.rstrip("=") for name in options.subOptions.longOpt if name.endswith("=")}
        self.assertEqual({name for name in takers if "token" in name or "secret" in name}, names_of_places)

    def test_api_path(self) -> None:
        """What is before /messages in the endpoint is the worker's vumi_api_path."""
        for endpoint, path in (("https://h/messages", ""), ("https://h/a/b/messages", "/a/b")):
            with case(endpoint=endpoint, path=path):
                self.assertEqual(ChannelRequest("a", "b", endpoint).api_path, path)

    def test_payload(self) -> None:
        """What Turn is asked is JSON."""
        self.assertIn("channel_http_api", json.dumps(ChannelRequest("a", "b", "https://h/messages").payload()))
