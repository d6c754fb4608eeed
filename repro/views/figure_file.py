"""Figures by matplotlib as new files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from repro.stages.errors import ReproError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


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
    import matplotlib
    from matplotlib.figure import Figure

    form = check_name(path)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        draw(figure)
        try:
            with path.open("xb") as file:
                figure.savefig(file, format=form)
        except FileExistsError as error:
            raise ReproError(f"{path}: is there already; nothing was drawn") from error
        except OSError as error:
            raise ReproError(f"{path}: can't be written: {error.strerror}") from error
