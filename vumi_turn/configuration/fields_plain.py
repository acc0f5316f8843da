"""Types of options: what all share, numbers, lists, classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, Mapping, NoReturn, Optional, Sequence, TypeVar, Union, cast, overload

from twisted.python.reflect import namedAny
from typing_extensions import Self

from .confmodel import ConfigError, ConfmodelField

#: What a secret looks like wherever a configuration is printed.
MASK = "***"

T = TypeVar("T")


class ConfigField(ConfmodelField, Generic[T]):
    """
    An option, whose value is a ``T``. One that is neither required nor has a
    default is wrapped in :func:`optional`.

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

    if TYPE_CHECKING:

        @overload
        def __get__(self, config: None, cls: type) -> Self: ...

        @overload
        def __get__(self, config: object, cls: type) -> T: ...

        def __get__(self, config: Optional[object], cls: type) -> Union[Self, T]: ...

    def clean(self, value: Any) -> T:
        """
        Check and convert a value.

        :raises ConfigError: it cannot be used; the text names the option.
        """
        return cast(T, value)

    def get_doc(self) -> tuple[str, str]:
        """The option's name and type, and its text with what is used where it is missing."""
        header, doc = super().get_doc()
        if self.required:
            doc += " Required."
        elif self.default not in (None, "", {}, []):
            doc += f" Default: {self.default}."
        return header, doc

    def wrong(self, message: str) -> NoReturn:
        """
        :raises ConfigError: naming the option.
        """
        raise ConfigError(f"{self.name} {message}")

    def refuse(self, value: object, expected: str, reason: str = "") -> NoReturn:
        """
        :param reason: more about what is wrong.
        :raises ConfigError: that ``value`` is not what is expected.
        """
        found = MASK if self.secret else shown(value)
        raise ConfigError(f"{self.name} must be {expected}, not {found}{reason and f' ({reason})'}")


def optional(field: ConfigField[T]) -> ConfigField[Optional[T]]:
    """
    :param field: an option without a default that is not required.
    :return: the same, for type checkers: its value is None where it is not given.
    """
    return cast("ConfigField[Optional[T]]", field)


def shown(value: object) -> str:
    """A value for an error's sentence: the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


N = TypeVar("N", int, float)


class _ConfigNumber(ConfigField[N]):
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

    def _check(self, value: object, number: N, kind: str) -> N:
        if self._minimum is not None and number < self._minimum:
            self.refuse(value, f"{kind}, {self._minimum} or more")
        if self._maximum is not None and number > self._maximum:
            self.refuse(value, f"{kind}, {self._maximum} or less")
        if self._exclusive_minimum is not None and number <= self._exclusive_minimum:
            self.refuse(value, f"{kind} greater than {self._exclusive_minimum}")
        return number


class ConfigInt(_ConfigNumber[int]):
    """A whole number."""

    field_type = "int"

    def clean(self, value: Any) -> int:
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


class ConfigFloat(_ConfigNumber[float]):
    """A number."""

    field_type = "float"

    def clean(self, value: Any) -> float:
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


class ConfigBool(ConfigField[bool]):
    """Yes or no."""

    field_type = "bool"
    WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def clean(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in self.WORDS:
            return self.WORDS[value.lower()]
        self.refuse(value, "true or false")


class ConfigChoice(ConfigField[str]):
    """
    One of some words.

    :param doc: what the option is for.
    :param words: what it may be.
    :param given: as for every field.
    """

    field_type = "str"

    def __init__(self, doc: str, words: Sequence[str], **given: Any) -> None:
        super().__init__(doc, **given)
        self._words = tuple(words)

    def clean(self, value: Any) -> str:
        if value in self._words:
            return str(value)
        self.refuse(value, " or ".join(self._words))


class ConfigDict(ConfigField[dict[str, Any]]):
    """A mapping."""

    field_type = "dict"

    def clean(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.refuse(value, "a mapping")
        return dict(value)


class ConfigSecretDict(ConfigDict):
    """A mapping whose values may be secrets, so that none of them is shown."""

    secret = True


class ConfigList(ConfigField[list[Any]]):
    """A list."""

    field_type = "list"

    def clean(self, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            self.refuse(value, "a list")
        return list(value)


class ConfigClassName(ConfigField[type[Any]]):
    """
    A class, by its dotted name.

    :param short_names: names that stand for dotted ones.
    """

    field_type = "dotted name"

    def __init__(self, doc: str, *args: Any, short_names: Optional[Mapping[str, str]] = None, **kwargs: Any) -> None:
        super().__init__(doc, *args, **kwargs)
        self._short_names = dict(short_names or {})

    def clean(self, value: Any) -> type[Any]:
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
