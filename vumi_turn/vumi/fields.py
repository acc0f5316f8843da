"""
confmodel on Python 3, with field types whose errors say what to do.

confmodel 0.2.0 is Python 2 code: its ``Config`` does not find its fields on
Python 3, and its field types cannot be imported. Its metaclass and its
``ConfigField`` work, and everything here stands on these two.
"""

from __future__ import annotations

import difflib
import math
import re
from ipaddress import IPv6Address, ip_address
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence
from urllib.parse import urlsplit

import idna
from confmodel.config import Config as ConfmodelConfig
from confmodel.config import ConfigField as ConfmodelField
from confmodel.config import ConfigMetaClass
from confmodel.errors import ConfigError
from twisted.internet.endpoints import serverFromString
from twisted.python.reflect import namedAny

#: What a secret looks like wherever a configuration is printed.
MASK = "***"


class ConfigErrors(ConfigError):
    """
    A configuration is wrong.

    :ivar errors: a sentence for each wrong option: its name, what is wrong,
        and what is expected.
    """

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(self.errors))


class ConfigField(ConfmodelField):
    """
    An option.

    :param doc: what it means, for people.
    :param required: it has to be there.
    :param default: its value where it is not.
    :param static: it is the same for all messages; ours all are.
    :param aliases: other names that it goes by.
    """

    secret = False

    def __init__(
        self,
        doc: str,
        required: bool = False,
        default: Any = None,
        static: bool = True,
        aliases: Sequence[str] = (),
    ) -> None:
        super().__init__(doc, required=required, default=default, static=static)
        self.aliases = tuple(aliases)

    def get_doc(self) -> tuple[str, str]:
        """The option's name and type, and its text with what is used where it is missing."""
        header, doc = super().get_doc()
        if self.required:
            doc += " Required."
        elif self.default not in (None, "", {}, []):
            doc += f" Default: {self.default}."
        return header, doc

    def wrong(self, message: str) -> None:
        """
        :raises ConfigError: naming the option.
        """
        raise ConfigError(f"{self.name} {message}")

    def refuse(self, value: Any, expected: str, reason: str = "") -> None:
        """
        :param reason: more about what is wrong.
        :raises ConfigError: that ``value`` is not what is expected.
        """
        shown = MASK if self.secret else _shown(value)
        raise ConfigError(f"{self.name} must be {expected}, not {shown}{reason and f' ({reason})'}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class ConfigText(ConfigField):
    """A text."""

    field_type = "str"
    expected = "a text"

    def clean(self, value: Any) -> Any:
        if not isinstance(value, str):
            self.refuse(value, self.expected + self._hint(value))
        if self.required and not value.strip():
            self.wrong(f"must not be empty: {self.expected} is expected")
        return value

    @staticmethod
    def _hint(value: Any) -> str:
        return " (put it in quotes)" if isinstance(value, (int, float)) else ""


class ConfigSecret(ConfigText):
    """A text that is never shown, of one line."""

    secret = True

    def clean(self, value: Any) -> Any:
        super().clean(value)
        if re.search(r"[\r\n]", value):
            self.wrong("must be one line, but has a line end: was it read from a file that ends with one?")
        return value


class ConfigToken(ConfigSecret):
    """A secret that is sent in an HTTP header."""

    def clean(self, value: Any) -> Any:
        super().clean(value)
        if re.search(r"[ \t]", value):
            self.wrong("has a space or a tab in it, which no token has: a token without 'Bearer' is expected")
        if re.search(r"[^!-~]", value):
            self.wrong("has a character that a token cannot have: visible ASCII characters are expected")
        return value


class ConfigConnectorName(ConfigText):
    """A connector's name: legacy vumi demands lower case."""

    expected = "a connector's name"

    def clean(self, value: Any) -> Any:
        super().clean(value)
        if value != value.lower():
            self.wrong(f"must be in lower case, as {value.lower()!r}, not {value!r}")
        if not re.fullmatch(r"[^\s\x00-\x1f]{1,200}", value):
            self.wrong("must have from 1 to 200 characters, and no spaces among them")
        return value


class _ConfigNumber(ConfigField):
    """What the two kinds of numbers share: their bounds."""

    def __init__(
        self,
        doc: str,
        *args: Any,
        minimum: Optional[float] = None,
        maximum: Optional[float] = None,
        exclusive_minimum: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(doc, *args, **kwargs)
        self._minimum = minimum
        self._maximum = maximum
        self._exclusive_minimum = exclusive_minimum

    def _check(self, value: Any, number: float, kind: str) -> Any:
        if self._minimum is not None and number < self._minimum:
            self.refuse(value, f"{kind}, {self._minimum} or more")
        if self._maximum is not None and number > self._maximum:
            self.refuse(value, f"{kind}, {self._maximum} or less")
        if self._exclusive_minimum is not None and number <= self._exclusive_minimum:
            self.refuse(value, f"{kind} greater than {self._exclusive_minimum}")
        return number


class ConfigInt(_ConfigNumber):
    """A whole number."""

    field_type = "int"

    def clean(self, value: Any) -> Any:
        number = value
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                number = None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool):
            self.refuse(value, "a whole number")
        return self._check(value, number, "a whole number")


class ConfigFloat(_ConfigNumber):
    """A number."""

    field_type = "float"

    def clean(self, value: Any) -> Any:
        number = value
        if isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = None
        try:
            number = None if isinstance(number, bool) else float(number)
        except (TypeError, OverflowError):
            number = None
        if number is None or not math.isfinite(number):
            self.refuse(value, "a number")
        return self._check(value, number, "a number")


class ConfigBool(ConfigField):
    """Yes or no."""

    field_type = "bool"
    WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def clean(self, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in self.WORDS:
            return self.WORDS[value.lower()]
        self.refuse(value, "true or false")


class ConfigDict(ConfigField):
    """A mapping."""

    field_type = "dict"

    def clean(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            self.refuse(value, "a mapping")
        return dict(value)


class ConfigList(ConfigField):
    """A list."""

    field_type = "list"

    def clean(self, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            self.refuse(value, "a list")
        return list(value)


class ConfigClassName(ConfigField):
    """
    A class, by its dotted name.

    :param short_names: names that stand for dotted ones.
    """

    field_type = "dotted name"

    def __init__(self, doc: str, *args: Any, short_names: Optional[Mapping[str, str]] = None, **kwargs: Any) -> None:
        super().__init__(doc, *args, **kwargs)
        self._short_names = dict(short_names or {})

    def clean(self, value: Any) -> Any:
        if isinstance(value, type):
            return value
        if not isinstance(value, str) or not value:
            self.refuse(value, "the dotted name of a class")
        name = self._short_names.get(value, value)
        try:
            found = namedAny(name)
        except Exception as error:  # importing a module may raise anything
            reason = str(error).split("\n")[0] or type(error).__name__
            self.wrong(f"names {value!r}, which cannot be imported ({reason}): a class's dotted name is expected")
        if not isinstance(found, type):
            self.refuse(value, "the dotted name of a class")
        return found


class ConfigUrl(ConfigText):
    """An http or https URL."""

    field_type = "URL"
    expected = "an http(s) URL"

    def clean(self, value: Any) -> Any:
        super().clean(value)
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or re.search(r"[\s\x00-\x20\x7f]", value):
            without_password = re.sub(r"[^/]*@", f"{MASK}@", value)
            self.refuse(without_password, "an http(s) URL, as https://whatsapp.turn.io/v1/numbers/<uuid>")
        if "@" in parts.netloc:
            self.wrong("must not hold a user name or password")
        if "?" in value or "#" in value:
            self.wrong("must have no query and no fragment: paths are put after it")
        if not _is_host(parts.hostname or "", bracketed="[" in parts.netloc):
            self.wrong(
                f"names the host {parts.hostname!r}, which cannot be looked up: "
                "letters, digits, hyphens and dots are expected, or an IP address"
            )
        return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")


def _is_host(host: str, bracketed: bool) -> bool:
    """Whether this is an IP address or a name that can be looked up; brackets hold IPv6 only."""
    if bracketed:
        return _is_ipv6(host)
    try:
        idna.encode(host, uts46=True)
    except UnicodeError:  # idna's errors are of this class
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        return isinstance(ip_address(host), IPv6Address) and "%" not in host
    except ValueError:
        return False


class ConfigUrlPath(ConfigText):
    """The path of a URL that we are asked for; it may be empty."""

    field_type = "path"

    def clean(self, value: Any) -> Any:
        super().clean(value)
        if value and (not value.startswith("/") or re.search(r"[\s\x00-\x20\x7f?#<>%]", value)):
            self.refuse(value, "a plain path that starts with a slash, as /turn")
        return value


_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]/\s]*):(?P<port>[0-9]{1,5})")
_PORT_OF_ENDPOINT = re.compile(r"(?:^(?:tcp6?|ssl):|:port=)(?P<port>[0-9]+)")
_ENDPOINT_KINDS = ("tcp", "tcp6", "ssl", "unix", "systemd", "haproxy", "tls", "onion", "fd")


class ConfigServerEndpoint(ConfigText):
    """
    Where to listen: ``host:port``, ``[::1]:port`` or a Twisted server
    endpoint. Gives the endpoint's description.
    """

    field_type = "host:port"
    expected = "host:port, [::1]:port or a Twisted server endpoint"

    def clean(self, value: Any) -> Any:
        super().clean(value)
        kind, _, rest = value.partition(":")
        found = _HOST_AND_PORT.fullmatch(value)
        if found is not None and kind not in _ENDPOINT_KINDS:
            return self._address(value, found["host"], int(found["port"]))
        if not rest or re.match(r"(tcp6?|ssl):-", value):
            self.refuse(value, self.expected)
        for port in _PORT_OF_ENDPOINT.findall(value):
            self._check_port(value, int(port))
        if kind == "systemd":  # what it hands over is seen by the process it has started only
            return value
        try:
            serverFromString(None, value)  # the reactor is wanted when it listens, not before
        except Exception as error:  # each kind of endpoint reads its part, and may raise anything
            self.refuse(value, self.expected, str(error).split("\n")[0] or type(error).__name__)
        return value

    def _check_port(self, value: str, port: int) -> None:
        if port > 65535:
            self.refuse(value, f"{self.expected}, with a port up to 65535")

    def _address(self, value: str, host: str, port: int) -> str:
        self._check_port(value, port)
        if host.startswith("["):
            if not _is_ipv6(host[1:-1]):
                self.refuse(value, self.expected)
            escaped = host[1:-1].replace(":", "\\:")
            return f"tcp6:{port}:interface={escaped}"
        return f"tcp:{port}:interface={host}" if host else f"tcp:{port}"


class Config(ConfmodelConfig, metaclass=ConfigMetaClass):
    """
    A configuration: fields as class attributes, values as instance attributes.

    :param config_data: the options as they were read; it is not changed.
    :param static: as in confmodel.
    :raises ConfigErrors: with everything that is wrong.
    """

    #: Checks of options that only make sense together: their names, and what
    #: takes their values and gives a sentence for each thing that is wrong.
    TOGETHER: Sequence[tuple[tuple[str, ...], Callable[..., list[str]]]] = ()

    def __init__(self, config_data: Mapping[str, Any], static: bool = True) -> None:
        errors: list[str] = []
        self._config_data = self._named(config_data, errors)
        self.static = static
        values: dict[str, Any] = {}
        for field in self._get_fields():
            if field.required and field.name not in self._config_data:
                errors.append(f"{field.name} is missing: {_first_sentence(field.doc)}")
                continue
            try:
                values[field.name] = field.get_value(self)
            except ConfigError as error:
                errors.append(str(error))
        for names, check in self.TOGETHER:
            if values.keys() >= set(names):
                errors.extend(check(*(values[name] for name in names)))
        if not errors:
            try:
                self.post_validate()
            except ConfigErrors as error:
                errors.extend(error.errors)
            except ConfigError as error:
                errors.append(str(error))
        if errors:
            raise ConfigErrors(errors)
        # Fields are cleaned at each access; the values are taken once instead.
        self._values = values

    def _named(self, config_data: Mapping[str, Any], errors: list[str]) -> dict[str, Any]:
        """The data with each option under its own name; what has no value is not given."""
        data = {key: value for key, value in config_data.items() if value is not None}
        for field in self._get_fields():
            for alias in getattr(field, "aliases", ()):
                if alias not in data:
                    continue
                value = data.pop(alias)
                if field.name in data and not _same(field, data[field.name], value):
                    errors.append(f"{field.name} and {alias} are two names of one option, and their values differ")
                data.setdefault(field.name, value)
        return data

    def __getattribute__(self, name: str) -> Any:
        values = object.__getattribute__(self, "__dict__").get("_values")
        if values is not None and name in values:
            return values[name]
        return object.__getattribute__(self, name)

    def masked(self) -> dict[str, Any]:
        """All options and their values, the secrets as ``***``."""
        return {
            field.name: MASK if getattr(field, "secret", False) and value else value
            for field in self._get_fields()
            for value in [getattr(self, field.name)]
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.masked()!r}>"

    @classmethod
    def known_names(cls) -> set[str]:
        """The names that options go by, aliases too."""
        names: set[str] = set()
        for field in cls._get_fields():
            names.add(field.name)
            names.update(getattr(field, "aliases", ()))
        return names

    @classmethod
    def unknown_keys(
        cls, config_data: Mapping[str, Any], also_known: Iterable[str] = ()
    ) -> list[tuple[str, Optional[str]]]:
        """
        The keys that are no options, each with the option whose name is nearest.

        :param also_known: names that mean something elsewhere, middlewares' for example.
        """
        known = cls.known_names() | set(also_known)
        found = []
        for key in config_data:
            if key not in known:
                near = difflib.get_close_matches(str(key), sorted(cls.known_names()), 1, 0.6)
                found.append((str(key), near[0] if near else None))
        return found


def _same(field: Any, one: Any, other: Any) -> bool:
    """Whether two values mean the same to a field, as 5 and "5" do to a number's."""
    try:
        return bool(field.clean(one) == field.clean(other))
    except ConfigError:
        return bool(one == other)


def _first_sentence(doc: str) -> str:
    sentence = " ".join(doc.split()).partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]
