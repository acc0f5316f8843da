"""
Configurations: typed options whose errors say what is wrong and what is expected.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Iterable, Mapping, Sequence

from .confmodel import ConfigError, ConfigMetaClass, ConfmodelConfig
from .fields_network import ConfigHostNames, ConfigServerEndpoint, ConfigUrl, ConfigUrlPath
from .fields_plain import (
    MASK,
    ConfigBool,
    ConfigChoice,
    ConfigClassName,
    ConfigDict,
    ConfigField,
    ConfigFloat,
    ConfigInt,
    ConfigList,
    ConfigSecretDict,
    optional,
)
from .fields_text import ConfigConnectorName, ConfigContent, ConfigSecret, ConfigText, ConfigToken, dirt_of

__all__ = [
    "MASK",
    "Config",
    "ConfigBool",
    "ConfigChoice",
    "ConfigClassName",
    "ConfigConnectorName",
    "ConfigContent",
    "ConfigDict",
    "ConfigError",
    "ConfigErrors",
    "ConfigField",
    "ConfigFloat",
    "ConfigHostNames",
    "ConfigInt",
    "ConfigList",
    "ConfigSecret",
    "ConfigSecretDict",
    "ConfigServerEndpoint",
    "ConfigText",
    "ConfigToken",
    "ConfigUrl",
    "ConfigUrlPath",
    "dirt_of",
    "optional",
]


class ConfigErrors(ConfigError):
    """
    A configuration is wrong.

    :ivar errors: a sentence for each wrong option: its name, what is wrong,
        and what is expected.
    """

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(self.errors))


class Config(ConfmodelConfig, metaclass=ConfigMetaClass):
    """
    A configuration: fields as class attributes, values as instance attributes.

    :param config_data: the options as they were read; it is not changed.
    :param static: as in confmodel.
    :raises ConfigErrors: with everything that is wrong.
    """

    #: For keys that other programs have: what to write instead.
    HINTS: ClassVar[Mapping[str, str]] = {}

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

    if not TYPE_CHECKING:  # with it every name would be an attribute, of type Any

        def __getattribute__(self, name: str) -> Any:
            values = object.__getattribute__(self, "__dict__").get("_values")
            if values is not None and name in values:
                return values[name]
            return object.__getattribute__(self, name)

    def masked(self) -> dict[str, Any]:
        """All options and their values, the secrets as ``***``."""
        return {
            field.name: _masked(value) if getattr(field, "secret", False) else value
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
    def laid_over(cls, below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        """Options one over the other: an option above wins, whichever of its names it goes by."""
        hidden: set[str] = set()
        for field in cls._get_fields():
            names = {field.name, *getattr(field, "aliases", ())}
            if not names.isdisjoint(above):
                hidden |= names
        return {**{key: value for key, value in below.items() if key not in hidden}, **above}

    @classmethod
    def unknown_keys(cls, config_data: Mapping[str, Any], also_known: Iterable[str] = ()) -> list[tuple[str, str]]:
        """
        The keys that are no options, each with a hint: what to write instead,
        or the option whose name is nearest; empty where there is nothing to say.

        :param also_known: names that mean something elsewhere, middlewares' for example.
        """
        known = cls.known_names() | set(also_known)
        found = []
        for key in config_data:
            if key not in known:
                near = difflib.get_close_matches(str(key), sorted(cls.known_names()), 1, 0.6)
                hint = f"did you mean {near[0]}?" if near else ""
                found.append((str(key), cls.HINTS.get(str(key), hint)))
        return found


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: MASK for key in value}
    return MASK if value else value


def _same(field: Any, one: Any, other: Any) -> bool:
    """Whether two values mean the same to a field, as 5 and "5" do to a number's."""
    try:
        return bool(field.clean(one) == field.clean(other))
    except ConfigError:
        return bool(one == other)


def _first_sentence(doc: str) -> str:
    sentence = " ".join(doc.split()).partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]
