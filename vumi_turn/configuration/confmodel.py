"""
The parts of confmodel that we use, with types.

confmodel 0.2.0 is Python 2 code without annotations. Its metaclass, its
``ConfigField`` and its errors work on Python 3; its ``Config`` does not find
its fields there, and its field types cannot be imported.
"""

from __future__ import annotations

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
    from confmodel.config import ConfigMetaClass
    from confmodel.errors import ConfigError

__all__ = ["ConfigError", "ConfigMetaClass", "ConfmodelConfig", "ConfmodelField"]
