"""
The flags of ``twistd vumi_worker``, and of everything else that speaks to the broker.

The flags are legacy vumi's (vumi/servicemaker.py), with the same meaning and
defaults; those that are new say so in their text.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

from twisted.python import usage

from ..configuration.files import SettingsError, load_yaml, overlay
from .broker_options import (
    DEFAULTS,
    OVER_URL,
    PARTS_OF_URL,
    PASSWORD_VARIABLE,
    has_password,
    number,
    parameters_from_options,
)
from .exits import stop, warn
from .logs import FORMATS, LEVELS
from .worker_class import find_worker_class


class VumiOptions(usage.Options):
    """
    The flags that everything which speaks to the broker has.

    :ivar vumi_options: the values, from the flags, else from ``--vumi-config``,
        else the defaults.
    """

    optParameters: list[list[Any]] = [
        ["hostname", None, None, "AMQP broker (*)"],
        ["port", None, None, "AMQP port (*)"],
        ["username", None, None, "AMQP username (*)"],
        ["password", None, None, "AMQP password; better in AMQP_PASSWORD: others can see flags (*)"],
        ["vhost", None, None, "AMQP virtual host (*)"],
        ["specfile", None, None, "Ignored: the AMQP definition is built in (*)"],
        ["sentry", None, None, "Sentry DSN (*)"],
        ["heartbeat", None, None, "Seconds between AMQP heartbeats; 0 is off; new (*)"],
        ["amqp-url", None, None, "amqp://user:password@host:port/vhost, or amqps:// for TLS; new (*)"],
        ["amqp-ca-file", None, None, "PEM file of the authorities to trust for amqps; new (*)"],
        [
            "vumi-config",
            None,
            None,
            "YAML config file for setting core vumi options (any command-line parameter marked with an asterisk)",
        ],
        ["system-id", None, None, "An identifier for a collection of Vumi workers (*)"],
    ]

    def parseArgs(self, *unexpected: str) -> None:
        """Everything is said by flags."""
        if unexpected:
            raise usage.UsageError(f"{unexpected[0]} is not expected here: each value comes after its flag")

    def postOptions(self) -> None:
        """Lay the flags over the file, and the file over the defaults."""
        names = [parameter[0] for parameter in VumiOptions.optParameters]
        given = {name: self[name] for name in names if self[name] is not None}
        path = given.pop("vumi-config", None)
        try:
            from_file = load_yaml(path) if path else {}
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None
        from_file = {key.replace("_", "-"): value for key, value in from_file.items() if value is not None}
        for name in sorted(set(from_file) - set(DEFAULTS)):
            warn(f"{path}: {name} is no option of vumi, and is ignored")
            del from_file[name]
        from_environment: dict[str, Any] = {}
        if os.environ.get(PASSWORD_VARIABLE):
            from_environment["password"] = os.environ[PASSWORD_VARIABLE]
        self.vumi_options = overlay(DEFAULTS, from_environment, from_file, given)
        over_url = []
        if "amqp-url" in from_file and "amqp-url" not in given:
            over_url = [name for name in PARTS_OF_URL if name in given]
        if from_environment and not has_password(self.vumi_options["amqp-url"]) and "password" not in over_url:
            over_url.append("password")
        if over_url and self.vumi_options["amqp-url"]:
            self.vumi_options[OVER_URL] = over_url
        if self.vumi_options["specfile"] is not None:
            warn("--specfile is ignored: the AMQP definition is built in")
        try:
            parameters_from_options(self.vumi_options)
        except ValueError as error:
            raise usage.UsageError(str(error)) from None


class StartWorkerOptions(VumiOptions):
    """
    Flags of ``vumi_worker``.

    :ivar from_file: what ``--config`` says.
    :ivar set_options: what ``--set-option`` lays over that.
    :ivar worker_config: both, one over the other, key by key.
    """

    longdesc = "Launch an instance of a vumi worker process."
    optFlags = [["worker-help", None, "Print out a usage message for the worker-class and exit"]]
    optParameters = [
        ["worker-class", None, None, "Class of a worker to start"],
        ["worker_class", None, None, "Deprecated. See --worker-class instead"],
        ["config", None, None, "YAML config file for worker configuration options"],
        ["maxthreads", None, None, "Maximum size of reactor thread pool"],
        ["log-format", None, "text", "How log lines look: text, or json with one object a line; new"],
        ["log-level", None, "info", "The lowest level that is logged: debug (addresses too), info, warn, error; new"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.set_options: dict[str, str] = {}

    def opt_set_option(self, keyvalue: str) -> None:
        """Set a worker configuration option, as key:value (overrides values from --config)."""
        key, colon, value = keyvalue.partition(":")
        if not key or not colon:
            # What follows a wrong sign may be a secret.
            name = re.split(r"[=\s]", key, maxsplit=1)[0]
            raise usage.UsageError(f"--set-option wants key:value, not {name!r}{'' if name == key else '…'}")
        self.set_options[key] = value

    def postOptions(self) -> None:
        """Find the class and read its configuration."""
        super().postOptions()
        name = self["worker-class"]
        if self["worker_class"] is not None:
            warnings.warn("--worker_class is deprecated: use --worker-class", DeprecationWarning, stacklevel=2)
            name = name or self["worker_class"]
        if not name:
            raise usage.UsageError("please specify --worker-class")
        for flag, values in (("log-format", FORMATS), ("log-level", LEVELS)):
            if self[flag] not in values:
                raise usage.UsageError(f"--{flag} must be one of {', '.join(values)}, not {self[flag]!r}")
        threads = self["maxthreads"]
        if threads is not None and (number(int, threads) or 0) < 1:
            raise usage.UsageError(f"maxthreads must be a whole number, 1 or more, not {threads!r}")
        self.worker_class_name = name
        if self["worker-help"]:
            self._help()
        try:
            self.from_file = self.read_config()
        except SettingsError as error:
            stop(str(error))
        self.worker_config = overlay(self.from_file, self.set_options)

    def read_config(self) -> dict[str, Any]:
        """
        What the file of ``--config`` says now.

        :raises SettingsError: it cannot be used.
        """
        return load_yaml(self["config"]) if self["config"] else {}

    def _help(self) -> None:
        worker_class = find_worker_class(self.worker_class_name)
        print(worker_class.__doc__ or "")
        config_class = getattr(worker_class, "CONFIG_CLASS", None)
        if config_class is not None:
            print(config_class.__doc__)
        raise SystemExit(0)
