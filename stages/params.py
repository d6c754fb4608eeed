"""What a stage reads from its config, recorded."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from repro.stages.config import Config, Value, unread
from repro.stages.errors import StageError
from repro.stages.plain import recorded
from repro.stages.source.keys import type_mismatch

T = TypeVar("T")


class Params(Mapping[str, Any]):
    """A config as its stage sees it: every read is recorded with the value used and whether it was a default.

    Raises on a read:
        StageError: a required key is missing, a value is of another type than its default, or one key is
            read with two different defaults.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._defaults: dict[str, Any] = {}
        self._read: dict[str, dict[str, Any]] = {}
        self.tell: Callable[..., None] = lambda *_: None  # for a note of a forked process (`ForkedNotes`)

    def __getitem__(self, key: str) -> Any:
        if key not in self._config:
            raise StageError(f'the config lacks "{key}", which its stage needs')
        return self._record(key, self._config[key], default=False)

    @overload
    def get(self, key: str, /) -> Any: ...
    @overload
    def get(self, key: str, default: T, /) -> T: ...
    def get(self, key: str, default: Any = None, /) -> Any:
        before = self._defaults.setdefault(key, default)
        if (type(before), before) != (type(default), default):
            raise StageError(f'"{key}" is read with two defaults: {before!r} and {default!r}')
        if key not in self._config:
            return self._record(key, default, default=True)
        value = self._config[key]
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)  # type: ignore[assignment]
        if wrong := type_mismatch(value, default):
            raise StageError(f'"{key}": {wrong}')
        return self._record(key, value, default=False)

    def choice(self, key: str, default: T, choices: "Sequence[T]") -> T:
        """As `get`, of a value that must be one of these; a submit refuses any other.

        Raises:
            StageError: it is none of them.
        """
        value = self.get(key, default)
        if value not in choices:
            raise StageError(f'"{key}": expected one of {", ".join(map(repr, choices))}, got: {value!r}')
        return value

    def options(self, kind: "type[T]") -> T:
        """A dataclass of the values of its fields: each is a key, with its default, if it has one. Tuples stand for
        lists. Fields that are not of `__init__` are no keys.

        Raises:
            StageError: a key without a default is missing, or a value is of another type than its default.
        """
        values = {}
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            if not field.init:
                continue
            default = field.default
            if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            value = self[field.name] if default is dataclasses.MISSING else self.get(field.name, default)
            values[field.name] = tuple(value) if isinstance(default, tuple) else value
        return kind(**values)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str) and key in self._config:
            self._record(key, self._config[key], default=False)
        return key in self._config

    def __iter__(self) -> Iterator[str]:
        return iter(self._config)

    def __len__(self) -> int:
        return len(self._config)

    @property
    def config(self) -> Mapping[str, Value]:
        """All of it, without a trace: for whoever sets up a run, not for its stage."""
        return self._config

    def record(self) -> dict[str, dict[str, Any]]:
        """`{key: {"value": ..., "default": bool}}` of every key read so far, sorted."""
        return dict(sorted(self._read.items()))

    def unread(self) -> list[str]:
        return unread(self._config, self._read)

    def note(self, key: str, value: Any, default: bool) -> None:
        """A read, as it is recorded."""
        self._read[key] = {"value": value, "default": default}
        self.tell("read", key, value, default)

    def _record(self, key: str, value: Value, default: bool) -> Value:
        self.note(key, recorded(value), default)
        return list(value) if isinstance(value, list) else value  # the stage may change its copy
