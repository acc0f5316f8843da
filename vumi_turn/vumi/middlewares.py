"""
The middlewares that come with us, and how a worker's configuration names them.

::

    middleware:
      - logging: LoggingMiddleware
      - ascii:
          class: UnidecodeMiddleware
          consume_priority: 1
    logging:
      log_level: debug
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from twisted.logger import Logger, LogLevel
from twisted.python.reflect import namedAny

from ..configuration.fields import ConfigErrors, ConfigText
from .middleware import BaseMiddleware, BaseMiddlewareConfig

ITEM_FORM = "a name and a class's dotted name, or a name and {class, consume_priority, publish_priority}"


def log_level(name: str) -> Any:
    """
    The log level of a name, also of legacy vumi's (``warning``).

    :raises ValueError: there is none of that name.
    """
    names = {"warning": "warn", "msg": "info", "err": "error"}
    level = {one.name: one for one in LogLevel.iterconstants()}.get(names.get(name.lower(), name.lower()))
    if level is None:
        raise ValueError(f"must be one of debug, info, warning, error, critical, not {name!r}")
    return level


class LoggingMiddlewareConfig(BaseMiddlewareConfig):
    """
    Configuration of the logging middleware.
    """

    log_level = ConfigText(
        "The level to log messages and events at; with debug their addresses and content are logged too.",
        default="info",
        static=True,
    )
    failure_log_level = ConfigText("The level to log failure messages at.", default="error", static=True)


class LoggingMiddleware(BaseMiddleware):
    """
    Logs each message: its kind, connector and id. With the log level
    ``debug``, and only then, addresses and content are logged too, on a line
    of their own.
    """

    CONFIG_CLASS = LoggingMiddlewareConfig
    log = Logger()

    def __init__(self, name: str, config: dict[str, Any], worker: Any) -> None:
        super().__init__(name, config, worker)
        self._level = _level_option(name, "log_level", self.config.log_level)
        self._failure_level = _level_option(name, "failure_log_level", self.config.failure_log_level)

    def handle_consume_inbound(self, message: Any, connector_name: str) -> Any:
        return self._log_message("Consumed inbound", message, connector_name)

    def handle_publish_inbound(self, message: Any, connector_name: str) -> Any:
        return self._log_message("Publishing inbound", message, connector_name)

    def handle_consume_outbound(self, message: Any, connector_name: str) -> Any:
        return self._log_message("Consumed outbound", message, connector_name)

    def handle_publish_outbound(self, message: Any, connector_name: str) -> Any:
        return self._log_message("Publishing outbound", message, connector_name)

    def handle_consume_event(self, event: Any, connector_name: str) -> Any:
        return self._log_event("Consumed", event, connector_name)

    def handle_publish_event(self, event: Any, connector_name: str) -> Any:
        return self._log_event("Publishing", event, connector_name)

    def handle_failure(self, failure: Any, connector_name: str) -> Any:
        what = "Failure message of code"
        return self._log(what, self._failure_level, failure, failure.failure_code, connector_name)

    def _log_message(self, doing: str, message: Any, connector_name: str) -> Any:
        return self._log(f"{doing} message", self._level, message, message.message_id, connector_name)

    def _log_event(self, doing: str, event: Any, connector_name: str) -> Any:
        what = f"{doing} {event.event_type} of message"
        return self._log(what, self._level, event, event.user_message_id, connector_name)

    def _log(self, what: str, level: Any, message: Any, name: Any, connector_name: str) -> Any:
        self.log.emit(
            level,
            "{what} {name} on {connector}",
            what=what,
            name=name,
            connector=connector_name,
            log_for_each_message=True,
        )
        if level is LogLevel.debug:
            self.log.debug("{name}: {json()}", name=name, json=lambda: message.to_json().decode("ascii"))
        return message


def _level_option(name: str, option: str, value: str) -> Any:
    try:
        return log_level(value)
    except ValueError as error:
        raise ConfigErrors([f"{option} {error}"]) from None


class UnidecodeMiddleware(BaseMiddleware):
    """
    Writes content in ASCII, both ways, for phones and networks that can't do
    better: "Žluťoučký" becomes "Zlutoucky". Needs the extra ``unidecode``.
    """

    def __init__(self, name: str, config: dict[str, Any], worker: Any) -> None:
        super().__init__(name, config, worker)
        try:
            from unidecode import unidecode
        except ImportError:
            raise ConfigErrors(
                ["UnidecodeMiddleware needs the package Unidecode: pip install vumi_turn[unidecode]"]
            ) from None
        self._to_ascii: Callable[[str], str] = unidecode

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        return self._in_ascii(message)

    def handle_outbound(self, message: Any, connector_name: str) -> Any:
        return self._in_ascii(message)

    def _in_ascii(self, message: Any) -> Any:
        if message.content is None or message.content.isascii():
            return message
        return message.replace(content=self._to_ascii(message.content))


#: Ours, by the names that need no dots.
SHORT_NAMES: Mapping[str, type[BaseMiddleware]] = {
    "BaseMiddleware": BaseMiddleware,
    "LoggingMiddleware": LoggingMiddleware,
    "UnidecodeMiddleware": UnidecodeMiddleware,
}


def middleware_class(name: str) -> type[BaseMiddleware]:
    """
    The class that a configuration names.

    :param name: a dotted name; or a short one of ours; or where legacy vumi
        or vumi2 have a class of the same name as one of ours.
    :raises ValueError: there is no such class; the text says why.
    """
    package, last = name.partition(".")[0], name.rpartition(".")[2]
    ours = SHORT_NAMES.get(last)
    if ours is not None and (name == last or (package.startswith("vumi") and package != "vumi_turn")):
        return ours
    known = ", ".join(sorted(SHORT_NAMES))
    if "." not in name:
        raise ValueError(f"{name!r} is neither a dotted name nor one of {known}")
    try:
        found = namedAny(name)
    except Exception as error:  # the import runs other people's code
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} cannot be imported ({why}); ours are {known}") from None
    if not isinstance(found, type):
        raise ValueError(f"{name!r} is not a class")
    return found


def create_middlewares(config: Mapping[str, Any], worker: Any) -> list[BaseMiddleware]:
    """
    Make the middlewares of a worker's configuration, in the order of its list.

    :param config: the worker's whole configuration: ``middleware`` is the
        list, and the options of each stand under its name beside it.
    :param worker: handed to each.
    :raises ConfigErrors: with everything that is wrong.
    """
    made: list[BaseMiddleware] = []
    errors: list[str] = []
    items = config.get("middleware") or []
    if not isinstance(items, (list, tuple)):
        raise ConfigErrors([f"middleware must be a list, not {type(items).__name__}"])
    for number, item in enumerate(items, 1):
        try:
            made.append(_create(item, number, config, worker))
        except ConfigErrors as error:
            errors.extend(error.errors)
    if errors:
        raise ConfigErrors(errors)
    return made


def middleware_names(config: Mapping[str, Any]) -> set[str]:
    """The names of the configured middlewares: keys of the configuration that have a meaning."""
    items = config.get("middleware")
    if not isinstance(items, (list, tuple)):
        return set()
    return {str(name) for item in items if isinstance(item, dict) for name in item}


def _create(item: Any, number: int, config: Mapping[str, Any], worker: Any) -> BaseMiddleware:
    if not isinstance(item, dict) or len(item) != 1:
        raise ConfigErrors([f"middleware: item {number} must be {ITEM_FORM}{_hint(item)}"])
    [(name, value)] = item.items()
    title = f"middleware {name}:"
    options = config.get(name) or {}
    if not isinstance(options, dict):
        raise ConfigErrors([f"{title} its options must be a mapping, not {type(options).__name__}"])
    settings = {"class": value} if isinstance(value, str) else value
    if not isinstance(settings, dict) or not isinstance(settings.get("class"), str):
        raise ConfigErrors([f"{title} must be {ITEM_FORM}{_hint(settings)}"])
    options = {**options, **_priorities(settings, title)}
    try:
        return middleware_class(settings["class"])(name, options, worker)
    except ConfigErrors as error:
        raise ConfigErrors([f"{title} {one}" for one in error.errors]) from None
    except ValueError as error:
        raise ConfigErrors([f"{title} {error}"]) from None


def _hint(item: object) -> str:
    """For items that are written as vumi2's."""
    if isinstance(item, dict) and "class_path" in item:
        return "; what vumi2 calls class_path is the class here"
    return ""


def _priorities(settings: Mapping[str, Any], title: str) -> dict[str, int]:
    keys = ("consume_priority", "publish_priority")
    try:
        return {key: int(settings[key]) for key in keys if key in settings}
    except (TypeError, ValueError):
        raise ConfigErrors([f"{title} consume_priority and publish_priority must be whole numbers"]) from None
