"""
``vumi_turn_channel``: make a channel at Turn, and try what can be tried before
a worker goes live.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
from typing import Any, Callable, Iterable, Mapping, Optional, TextIO

from twisted.python import usage

from ..configuration.fields import ConfigConnectorName, ConfigError, ConfigServerEndpoint, ConfigUrl
from ..service.options import StartWorkerOptions, VumiOptions
from .channel_create import MESSAGES, NUMBERS_URL, Channel, ChannelRequest, PostFunction, Refused, create_channel
from .channel_file import CHANNEL_TOKEN, CannotAppend, ChannelFile, SecretFile
from .running import parse, run_command

#: The environment variable with the token of a number that there is already.
TOKEN = "TURN_TOKEN"


#: What is one place, or names one: two flags would leave one of them empty without a word.
ONCE = frozenset({"output", "secret-file", "secret-env", "token-file", "token-env"})


class CreateOptions(usage.Options):
    """Make a channel at Turn, and write the worker's configuration for it."""

    synopsis = "[options]"
    longdesc = (
        f"The token of a number that you have at Turn is taken from the environment ({TOKEN}), from --token-file, "
        "or asked for on the terminal; there is no flag for it, because others can see flags."
    )
    optFlags = [
        ["append", "a", "Add the channel to the file that --output names, a worker's of many channels"],
        ["force", "f", "Replace the files that --output and --secret-file name"],
        ["show-secret", None, "Print the configuration, with its secret, instead of writing it to a file"],
    ]
    optParameters = [
        ["from-addr", None, None, "The channel's address, as people dial or write to it"],
        ["name", None, None, "What Turn shows as the channel's name"],
        ["endpoint", None, None, f"Where Turn sends messages: https://our.host{MESSAGES}"],
        ["connector", "c", None, "The vumi connector's name"],
        ["output", "o", None, "The file for the configuration; only its owner will be able to read it"],
        ["http-bind", None, "127.0.0.1:8080", "Where the worker is to listen"],
        ["token-file", None, None, "A file with the token of a number that you have at Turn"],
        [
            "token-env",
            None,
            CHANNEL_TOKEN,
            "The environment variable that the worker takes the new channel's token from",
        ],
        [
            "secret-file",
            None,
            None,
            "A file of its own for the secret that Turn signs with; the configuration names it",
        ],
        ["secret-env", None, None, "The environment variable with that secret; --secret-file gets a line NAME=secret"],
        ["api-url", None, NUMBERS_URL, "Turn's numbers"],
    ]

    parseArgs = VumiOptions.parseArgs

    def __init__(self) -> None:
        self._given: set[str] = set()
        super().__init__()

    def __setitem__(self, name: str, value: Any) -> None:
        """Twisted sets each flag as it comes; defaults do not come here."""
        if name in ONCE & self._given:
            raise usage.UsageError(f"create: --{name} is given twice: one channel has one")
        self._given.add(name)
        super().__setitem__(name, value)

    def postOptions(self) -> None:
        """Check the flags."""
        for name in ("from-addr", "name", "endpoint", "connector"):
            if not (self[name] or "").strip():
                raise usage.UsageError(f"create: --{name} is required")
        if bool(self["output"]) == bool(self["show-secret"]):
            raise usage.UsageError(
                "create: say where the channel's secret goes: --output FILE, or --show-secret to print it"
            )
        if self["append"] and (self["show-secret"] or self["force"]):
            raise usage.UsageError("create: --append adds to the file of --output, without --force or --show-secret")
        if self["secret-env"] and not self["secret-file"]:
            raise usage.UsageError("create: --secret-env needs --secret-file: the secret has to go somewhere")
        for name in ("token-env", "secret-env"):
            if self[name] is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self[name]):
                raise usage.UsageError(f"create: --{name} must be the name of an environment variable")
        for name, field in (
            ("endpoint", ConfigUrl("")),
            ("api-url", ConfigUrl("")),
            ("connector", ConfigConnectorName("")),
            ("http-bind", ConfigServerEndpoint("")),
        ):
            field.name = f"--{name}"
            try:
                cleaned = field.clean(self[name])
            except ConfigError as error:
                raise usage.UsageError(f"create: {error}") from None
            if isinstance(field, ConfigUrl):
                self[name] = cleaned
        if not self["endpoint"].endswith(MESSAGES):
            raise usage.UsageError(f"create: --endpoint must end with {MESSAGES}, as https://our.host{MESSAGES}")

    def request(self) -> ChannelRequest:
        """The channel that is asked for."""
        return ChannelRequest(self["from-addr"], self["name"], self["endpoint"])

    def file(self) -> ChannelFile:
        """How its options are written."""
        names = ("connector", "http-bind", "api-url", "token-env", "secret-env", "secret-file")
        return ChannelFile(*(self[name] for name in names))


class CheckOptions(VumiOptions):
    """
    Try a worker's configuration against the broker, Turn and whatever else it names.

    :ivar set_options: what ``--set-option`` lays over the file.
    """

    synopsis = "[options]"
    longdesc = (
        "Nothing is changed and nobody is sent anything: missing queues stay missing, and Turn gets one POST of an "
        "empty object, which it refuses as invalid where the token is good. The exit status is 0 if nothing failed."
    )
    optParameters = [["config", None, None, "The worker's YAML file"]]
    opt_set_option = StartWorkerOptions.opt_set_option

    def __init__(self) -> None:
        super().__init__()
        self.set_options: dict[str, str] = {}

    def postOptions(self) -> None:
        super().postOptions()
        if not self["config"]:
            raise usage.UsageError("check: --config is required: the worker's configuration")


class ChannelOptions(usage.Options):
    """What to do."""

    synopsis = "Usage: vumi_turn_channel create|check [options]"
    longdesc = "Makes a channel at Turn, or tries a worker's configuration before it goes live."
    subCommands = [
        ["create", None, CreateOptions, "Make a channel at Turn, and the configuration for it"],
        ["check", None, CheckOptions, "Try a configuration before going live"],
    ]

    def getSynopsis(self) -> str:
        """With a subcommand, its own part is added by Twisted."""
        return self.synopsis.partition(" create|")[0] if self.subCommand else self.synopsis

    def postOptions(self) -> None:
        if self.subCommand is None:
            raise usage.UsageError("say what to do: create or check")


class NoToken(Exception):
    """There is no token; the text says how to give one."""


def token_from(path: Optional[str], environ: Mapping[str, str], ask: Optional[Callable[[str], str]]) -> str:
    """
    The token of a number that there is already.

    :param path: a file that holds it, and wins over the environment.
    :param ask: asks for it without showing what is typed; None where there is nobody to ask.
    :raises NoToken: nowhere, or not one.
    """
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                token, source = file.read().strip(), f"the file {path}"
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise NoToken(f"the token cannot be read from {path}: {why}") from None
    elif environ.get(TOKEN, "").strip():
        token, source = environ[TOKEN].strip(), TOKEN
    elif ask is not None:
        try:
            token, source = ask("Token of a number that you have at Turn: ").strip(), "what was typed"
        except (EOFError, KeyboardInterrupt):
            raise NoToken("no token was given") from None
    else:
        raise NoToken(f"Turn's token is missing: set {TOKEN}, or name a file with --token-file")
    if not token or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise NoToken(f"{source} is no token: one word of letters, digits and signs is expected")
    return token


async def create(options: CreateOptions, token: str, post: PostFunction, out: TextIO, err: TextIO) -> int:
    """Make the channel, and write or print the configuration; the exit status."""
    file, request, path = options.file(), options.request(), options["output"]
    opened: dict[str, SecretFile] = {}
    try:
        if options["append"]:  # a trial, before anything is made
            file.appended(Channel("number", "", "secret"), request, path)
        for name in (options["secret-file"], path):
            if name is not None:
                opened[name] = SecretFile(name, bool(options["force"] or (options["append"] and name == path)))
        if options["api-url"].startswith("http:"):
            print("vumi_turn_channel: the token goes to Turn without encryption: --api-url is http", file=err)
        channel = await create_channel(post, options["api-url"], token, request)
    except BaseException as error:
        for one in opened.values():
            one.discard()
        if isinstance(error, (Refused, CannotAppend)):
            return _refuse(err, str(error))
        if isinstance(error, FileExistsError):
            return _refuse(err, f"{error.filename} is there already: nothing was done; --force would replace it")
        if isinstance(error, OSError):
            return _refuse(err, f"{error.filename or path} cannot be written ({error.strerror}): nothing was done")
        raise
    return _keep(channel, options, opened, out, err)


def _keep(channel: Channel, options: CreateOptions, opened: Mapping[str, SecretFile], out: TextIO, err: TextIO) -> int:
    """Write what Turn has answered; the exit status."""
    file, request, path = options.file(), options.request(), options["output"]
    current = options["secret-file"]
    try:
        if current is not None:
            opened[current].keep(file.secret_text(channel))
        current = path
        text = file.appended(channel, request, path) if options["append"] else file.single(channel, request)
        if path is None:
            print(text, end="", file=out)
            return 0
        opened[path].keep(text)
    except (OSError, CannotAppend) as error:
        reason = getattr(error, "strerror", None) or str(error)
        secret = "so its secret is lost: delete it in Turn"
        if options["secret-file"] not in (None, current):
            secret = f"its secret is in {options['secret-file']}"
        why = f"{current} could not be written ({reason}), {secret}"
        return _refuse(err, f"the channel {channel.number} was made, but {why}")
    print(f"The channel {channel.number} was made; its configuration is in {path}.", file=out)
    print(f"Make its token in Turn's settings, and give it to the worker as {options['token-env']}.", file=out)
    if options["secret-env"]:
        print(f"Give {options['secret-env']} of {options['secret-file']} to the worker too.", file=out)
    return 0


def _refuse(err: TextIO, why: str) -> int:
    print(f"vumi_turn_channel: {why}", file=err)
    return 1


async def run(reactor: Any, options: ChannelOptions, token: Optional[str]) -> int:
    """Do what the options say; the exit status."""
    from .http import HttpClient

    chosen = options.subOptions
    if options.subCommand == "create":
        assert token is not None
        return await create(chosen, token, HttpClient(reactor).post, sys.stdout, sys.stderr)
    from .channel_check import Check

    return await Check(chosen, reactor, sys.stdout).run()


def main(argv: Optional[Iterable[str]] = None) -> None:
    """The installed command ``vumi_turn_channel``."""
    options = ChannelOptions()
    parse(options, "vumi_turn_channel", argv)
    token: Optional[str] = None
    if options.subCommand == "create":
        ask = getpass.getpass if sys.stdin.isatty() else None
        try:
            token = token_from(options.subOptions["token-file"], os.environ, ask)
        except NoToken as error:
            raise SystemExit(_refuse(sys.stderr, str(error))) from None
    run_command(lambda reactor: run(reactor, options, token))
