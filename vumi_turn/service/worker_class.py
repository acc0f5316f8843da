"""The class that ``--worker-class`` names, and the options that it does not know."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from twisted.logger import Logger
from twisted.python.reflect import ModuleNotFound, ObjectNotFound, namedAny

from .exits import stop

log = Logger()


def find_worker_class(name: str) -> Any:
    """
    The class that ``--worker-class`` names; ends the process with a clear
    line where there is none.
    """
    from ..vumi.worker import BaseWorker

    try:
        found = namedAny(name)
    except Exception as error:  # importing a module may raise anything
        reason = (str(error) or type(error).__name__).split("\n")[0]
        if isinstance(error, (ModuleNotFound, ObjectNotFound)):
            reason = f"there is no {name}; is it installed, or its folder on PYTHONPATH?"
        stop(f"--worker-class {name} cannot be imported: {reason}")
    if not (isinstance(found, type) and issubclass(found, BaseWorker)):
        stop(f"--worker-class {name} is not a worker of vumi_turn: a subclass of BaseWorker is expected")
    return found


def warn_of_unknown_keys(worker_class: Any, config: Mapping[str, Any]) -> None:
    """A log line for each key that is no option: probably a misspelt one."""
    for fields in unknown_keys(worker_class, config):
        log.warn("The option {key} is not known, and is ignored{hint}", **fields)


def unknown_keys(worker_class: Any, config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """One mapping for each unknown key: ``key`` and ``hint``, the fields of its log line."""
    middlewares = config.get("middleware")
    listed = middlewares if isinstance(middlewares, (list, tuple)) else ()
    also = {str(name) for item in listed if isinstance(item, dict) for name in item}
    for key, hint in worker_class.CONFIG_CLASS.unknown_keys(config, also):
        yield {"key": key, "hint": f": {hint}" if hint else ""}
