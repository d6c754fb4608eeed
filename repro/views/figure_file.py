"""Figures by matplotlib as new files."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from repro.stages.errors import ReproError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
ALONE = threading.Lock()


def check_name(path: Path) -> str:
    """The format that a file's name asks for."""
    if (form := path.suffix.removeprefix(".").lower()) not in FORMATS:
        raise ReproError(f"{path}: what to draw is told by its end: .{', .'.join(FORMATS)}")
    return form


def save(draw: "Callable[[Figure], None]", path: Path, size: tuple[float, float]) -> None:
    """A figure by matplotlib, as a new file.

    Raises:
        ReproError: the file is there already, or can't be written.
    """
    form = check_name(path)
    with _drawn(draw, size) as figure:
        try:
            with path.open("xb") as file:
                figure.savefig(file, format=form)
        except FileExistsError as error:
            raise ReproError(f"{path}: is there already; nothing was drawn") from error
        except OSError as error:
            raise ReproError(f"{path}: can't be written: {error.strerror}") from error


def png(draw: "Callable[[Figure], None]", size: tuple[float, float]) -> bytes:
    """A figure by matplotlib, as the bytes of a picture."""
    data = io.BytesIO()
    with _drawn(draw, size) as figure:
        figure.savefig(data, format="png")
    return data.getvalue()


@contextmanager
def _drawn(draw: "Callable[[Figure], None]", size: tuple[float, float]) -> "Iterator[Figure]":
    """With matplotlib's own settings, whatever a user has made of them; they are one for all threads."""
    import matplotlib
    from matplotlib.figure import Figure

    with ALONE, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        draw(figure)
        yield figure
