"""
The configuration that ``vumi_turn_channel create`` writes.

The secret that Turn answers with goes into a file that only its owner can
read, or to the terminal where that was asked for, and nowhere else.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote

import yaml

from .channel_create import Channel, ChannelRequest
from .channels import NAMES

#: The environment variable that a configuration takes the channel's own token
#: from, where no other is named.
CHANNEL_TOKEN = "TURN_CHANNEL_TOKEN"

_ITEM = re.compile(r"^( *)- ", re.MULTILINE)


class CannotAppend(Exception):
    """A channel cannot be appended to a file; the text says why."""


@dataclass(frozen=True)
class ChannelFile:
    """
    How a channel's options are written.

    :ivar connector: the connector's name.
    :ivar http_bind: where the worker is to listen.
    :ivar api_url: the URL of Turn's numbers.
    :ivar token_env: the environment variable with the channel's own token.
    :ivar secret_env: the environment variable with the secret; None writes it otherwise.
    :ivar secret_file: the file that gets the secret; None puts it among the options.
    """

    connector: str
    http_bind: str
    api_url: str
    token_env: str = CHANNEL_TOKEN
    secret_env: Optional[str] = None
    secret_file: Optional[str] = None

    def single(self, channel: Channel, request: ChannelRequest) -> str:
        """The file of a worker of one channel."""
        lines = [
            *self._heading(channel),
            f"connector_name: {_quoted(self.connector)}",
            f"http_bind: {_quoted(self.http_bind)}",
        ]
        if request.api_path:
            lines.append(f"vumi_api_path: {_quoted(request.api_path)}")
        return "\n".join([*lines, *self._options(channel, request)]) + "\n"

    def appended(self, channel: Channel, request: ChannelRequest, path: str) -> str:
        """
        The file of a worker of many channels with one more; a file that is not there begins with it.

        :raises CannotAppend: it is no such file, or has a channel of this name.
        """
        before, old = self._before(path)
        lines = [*self._heading(channel), f"connector_name: {_quoted(self.connector)}"]
        if request.api_path != "/" + quote(self.connector, safe=""):
            lines.append(f"vumi_api_path: {_quoted(request.api_path)}")
        lines += self._options(channel, request)
        indent = _ITEM.findall(before.partition("channels:")[2])
        text = before + _as_item(lines, indent[-1] if indent else "  ")
        try:
            added = len(_channels_in(text, path)) - old
        except CannotAppend:  # it was right before, and is not now
            added = 0
        if added != 1:
            raise CannotAppend(f"{path} does not end with a list of channels, an item a line: put channels: at its end")
        return text

    def secret_text(self, channel: Channel) -> str:
        """What goes into :attr:`secret_file`: the secret alone, or as environment files have it."""
        return f"{self.secret_env}={channel.secret}\n" if self.secret_env else f"{channel.secret}\n"

    def _before(self, path: str) -> tuple[str, int]:
        """The file's text, which ends with a line end, and how many channels it has."""
        if not os.path.exists(path):
            return f"http_bind: {_quoted(self.http_bind)}\nchannels:\n", 0
        text = Path(path).read_text(encoding="utf-8")
        found = _channels_in(text, path)
        if self.connector in found:
            raise CannotAppend(f"{path} has a channel of the name {self.connector} already")
        return text.rstrip("\n") + "\n", len(found)

    def _heading(self, channel: Channel) -> list[str]:
        webhook = f", webhook {channel.webhook}." if channel.webhook else "."
        return [f"# The channel {channel.number} at Turn{webhook}"]

    def _options(self, channel: Channel, request: ChannelRequest) -> list[str]:
        lines = [
            f"turn_api_url: {_quoted(f'{self.api_url}/{channel.number}')}",
            f"default_from_addr: {_quoted(request.from_addr)}",
            "# The channel's own token, which is made in Turn's settings.",
            f"auth_token: !env {self.token_env}",
        ]
        if self.secret_env:
            return [*lines, f"turn_hmac_secret: !env {self.secret_env}"]
        if self.secret_file:
            return [*lines, f"turn_hmac_secret: !file {_quoted(os.path.abspath(self.secret_file))}"]
        secret = f"turn_hmac_secret: {_quoted(channel.secret)}"
        return [*lines, "# Keep this file to yourself: Turn signs what it sends with this.", secret]


def _as_item(lines: list[str], indent: str) -> str:
    """Options as an item of a list, with its comment before it."""
    comments = [line for line in lines[:1] if line.startswith("#")]
    first, *rest = lines[len(comments) :]
    item = [f"{indent}{line}" for line in comments] + [f"{indent}- {first}"]
    return "\n".join(item + [f"{indent}  {line}" for line in rest]) + "\n"


def _channels_in(text: str, path: str) -> list[Optional[str]]:
    """
    The connectors of the channels in a file's text. Its tags are not resolved:
    the secrets behind them are not needed here.

    :raises CannotAppend: it is no file of a worker of many channels.
    """
    try:
        root = yaml.compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise CannotAppend(f"{path}{where}: is not YAML") from None
    options = _pairs_of(root)
    if not options.keys().isdisjoint(NAMES):
        raise CannotAppend(f"{path} is the file of a single channel: --append wants one with channels:")
    channels = options.get("channels")
    if isinstance(channels, yaml.SequenceNode):
        return [_connector_of(one) for one in channels.value]
    if channels is None or (isinstance(channels, yaml.ScalarNode) and not channels.value):
        return []
    raise CannotAppend(f"{path}: channels must be a list")


def _connector_of(channel: yaml.Node) -> Optional[str]:
    options = _pairs_of(channel)
    found = next((options[name] for name in NAMES if name in options), None)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else None


def _pairs_of(node: Optional[yaml.Node]) -> dict[str, yaml.Node]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _quoted(text: str) -> str:
    """A text as YAML has it, on one line of ASCII."""
    return yaml.safe_dump(text, default_style='"', width=math.inf).rstrip("\n")


class SecretFile:
    """
    A file that only its owner can read. It is opened before Turn is asked, so
    that a secret never comes back with nowhere to go.

    :param path: the file's name.
    :param force: whether an existing file may be replaced; it is, in one step,
        only when everything is written.
    :raises OSError: it cannot be made; FileExistsError where it is there already.
    """

    def __init__(self, path: str, force: bool) -> None:
        self._path = path
        self._written = f"{path}.{os.getpid()}.new" if force else path
        # Never through a link that somebody else has put there.
        self._file = os.open(self._written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def keep(self, text: str) -> None:
        """
        Write it.

        :raises OSError: it could not be written, or not put in its place.
        """
        with os.fdopen(self._file, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self._written != self._path:
            os.replace(self._written, self._path)

    def discard(self) -> None:
        """Leave everything as it was."""
        os.close(self._file)
        os.unlink(self._written)
