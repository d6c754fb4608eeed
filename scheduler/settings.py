"""What a user sets outside of configs: where the queue, the outputs and the inputs are. Never part of a result."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repro.stages.errors import ReproError


@dataclass(frozen=True)
class Settings:
    """The `REPRO_*` variables, each made absolute, so that a change of folder later changes nothing."""

    home: Path  # embedded server, local store, cache
    mongo_url: str | None  # None: the embedded server under `home`
    store: str  # fsspec URL of the outputs' root, without a trailing slash
    data: str  # folder or fsspec URL against which relative input masks are resolved

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; an empty variable counts as one that is not set.

        Raises:
            ReproError: REPRO_HOME is a URL, or a relative path is given in a folder that is gone.
        """
        home = _home(environ.get("REPRO_HOME") or ".repro")
        store = environ.get("REPRO_STORE") or str(home / "store")
        data = environ.get("REPRO_DATA") or "."
        return cls(
            home=home,
            mongo_url=environ.get("REPRO_MONGO_URL") or None,
            store=_url(store) if "://" in store else f"file://{_absolute(store)}",
            data=_url(data) if "://" in data else str(_absolute(data)),
        )


def _home(value: str) -> Path:
    if "://" in value:
        raise ReproError(f"REPRO_HOME is {value}, but must be a folder of this machine; set it to a local path")
    return _absolute(value)


def _absolute(value: str) -> Path:
    """The path from the root, without `..`; the name a user gave stays, symbolic links are not followed."""
    try:
        return Path(os.path.abspath(Path(value).expanduser()))  # noqa: PTH100 - Path.absolute keeps `..`
    except (FileNotFoundError, RuntimeError) as error:  # the current folder was deleted; ~ has no home
        raise ReproError(f"can't make {value} an absolute path: {error}; go to another folder") from error


def _url(url: str) -> str:
    """Without trailing slashes, but never shorter than `file:///`; a local path absolute, as one without a scheme."""
    scheme, _, rest = url.partition("://")
    if scheme in ("file", "local"):
        return f"{scheme}://{_absolute(rest)}"
    return f"{scheme}://{rest.rstrip('/') or rest[:1]}"
