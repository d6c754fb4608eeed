"""What a stage reads from its config, recorded."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, overload

from repro.stages.config import RESERVED, Config, Value
from repro.stages.errors import StageError
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
        if wrong := type_mismatch(value, default):
            raise StageError(f'"{key}": {wrong}')
        return self._record(key, value, default=False)

    def __contains__(self, key: object) -> bool:
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
        return sorted(self._config.keys() - self._read.keys() - RESERVED.keys())

    def _record(self, key: str, value: Value, default: bool) -> Value:
        self._read[key] = {"value": value, "default": default}
        return list(value) if isinstance(value, list) else value  # the stage may change its copy
