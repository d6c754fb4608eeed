"""What a user sets outside of configs: where the queue, the outputs and the inputs are. Never part of a result."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repro.stages.errors import ReproError
from repro.stages.plain import is_text


@dataclass(frozen=True)
class Settings:
    """The `REPRO_*` variables, each made absolute, so that a change of folder later changes nothing."""

    home: Path  # embedded server, local store, cache
    mongo_url: str | None  # None: the embedded server under `home`
    store: str  # fsspec URL of the outputs' root, without a trailing slash
    data: str  # folder or fsspec URL against which relative input masks are resolved
    said_data: str | None  # the same, None where it is the current folder for want of another
    said_store: bool  # whether `store` was said, and is not the one under `home` for want of another

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; an empty variable counts as one that is not set.

        Raises:
            ReproError: REPRO_HOME is a URL, a relative path is given in a folder that is gone, or a path is no text.
        """
        home = _home(environ.get("REPRO_HOME") or ".repro")
        store = environ.get("REPRO_STORE") or str(home / "store")
        data = environ.get("REPRO_DATA") or "."
        data = _text("DATA", _url(data) if "://" in data else str(_absolute(data)))
        return cls(
            home=home,
            mongo_url=_text("MONGO_URL", environ.get("REPRO_MONGO_URL") or "") or None,
            store=_text("STORE", _url(store) if "://" in store else f"file://{_absolute(store)}"),
            data=data,
            said_data=data if environ.get("REPRO_DATA") else None,
            said_store=bool(environ.get("REPRO_STORE")),
        )


def _text(name: str, value: str) -> str:
    """Documents hold places of results and of data: text alone."""
    if not is_text(value):
        raise ReproError(f"REPRO_{name}: {value!r} is no UTF-8 text; take a folder with another name")
    return value


def _home(value: str) -> Path:
    if "://" in value:
        raise ReproError(f"REPRO_HOME is {value}, but must be a folder of this machine; set it to a local path")
    return Path(_text("HOME", str(_absolute(value))))


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
