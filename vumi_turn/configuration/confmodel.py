"""
The parts of confmodel that we use, with types.

confmodel 0.2.0 is Python 2 code without annotations. Its metaclass, its
``ConfigField`` and its errors work on Python 3; its ``Config`` does not find
its fields there, and its field types cannot be imported.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, NoReturn, Optional, Sequence

if TYPE_CHECKING:

    class ConfigError(Exception):
        """A value cannot be used."""

    class ConfigMetaClass(type):
        """Collects a class's fields and writes its docstring."""

    class ConfmodelField:
        """A field: a descriptor that reads, checks and converts a value."""

        name: str
        doc: str
        required: bool
        default: Any
        static: bool
        field_type: Optional[str]

        def __init__(
            self, doc: str, required: bool = ..., default: Any = ..., static: bool = ..., fallbacks: Sequence[Any] = ...
        ) -> None: ...

        def get_doc(self) -> tuple[str, str]: ...

        def get_value(self, config: ConfmodelConfig) -> Any: ...

    class ConfmodelConfig:
        """The options, read once."""

        _fields: ClassVar[dict[str, Any]]
        _config_data: Mapping[str, Any]
        static: bool

        @classmethod
        def _get_fields(cls) -> list[Any]: ...

        def post_validate(self) -> None: ...

        def raise_config_error(self, message: str) -> NoReturn: ...

else:
    from confmodel.config import Config as ConfmodelConfig
    from confmodel.config import ConfigField as ConfmodelField
    from confmodel.config import ConfigMetaClass as _ConfmodelMetaClass
    from confmodel.config import generate_doc
    from confmodel.errors import ConfigError

    class ConfigMetaClass(_ConfmodelMetaClass):
        """
        As confmodel's, with docstrings that are written when they are asked
        for: formatting them takes longer than all else at a class's making,
        and only ``--help`` and the documentation show them.
        """

        def __new__(mcs, name, bases, namespace):
            members = {}
            for base in bases:
                for above in reversed(base.__mro__):
                    members.update(vars(above))
            members.update(namespace)
            found = {key: member for key, member in members.items() if isinstance(member, ConfmodelField)}
            for key, field in found.items():
                field.setup(key)
            fields = sorted(found.values(), key=lambda field: field.creation_order)
            namespace["_fields"] = {field.name: field for field in fields}
            namespace["_field_names"] = tuple(namespace["_fields"])
            return type.__new__(mcs, name, bases, namespace)

        @property
        def __doc__(cls):
            written = SimpleNamespace(__doc__=vars(cls).get("__doc__"))
            return generate_doc(written, list(cls._fields.values()))


__all__ = ["ConfigError", "ConfigMetaClass", "ConfmodelConfig", "ConfmodelField"]
