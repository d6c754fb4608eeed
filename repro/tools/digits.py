"""The 1,797 handwritten digits that scikit-learn carries, as PNGs: data for the examples, without a network.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998.
"""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from repro.stages.errors import ReproError

if TYPE_CHECKING:
    import numpy as np


def write(folder: Path) -> int:
    """Create `digits/<class>/<number>.png` in a folder: 8 x 8 pixels, 8-bit grey; returns how many there are.

    Files that are there already with the same bytes are left alone.

    Raises:
        ReproError: scikit-learn is missing, the folder can't be written, or holds other files by these names.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ReproError('the digits need scikit-learn: pip install "repro-queue[demo]"') from error
    images, labels = load_digits(return_X_y=True)
    try:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            _create(Path(folder) / "digits" / str(label) / f"{number:04}.png", _png(image))
    except OSError as error:
        raise ReproError(f"{folder}: the digits can't be written: {error.strerror or error}") from error
    return len(labels)


def _png(image: "np.ndarray") -> bytes:
    from PIL import Image

    pixels = (image.reshape(8, 8) * 255 / 16).round().astype("uint8")  # they come as 0 to 16
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _create(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        if path.read_bytes() != data:
            raise ReproError(f"{path}: is there already with other content; nothing was changed") from None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m repro.tools.digits FOLDER")
    try:
        print(f"{write(Path(sys.argv[1]))} digits in {Path(sys.argv[1]) / 'digits'}")
    except ReproError as error:
        sys.exit(f"error: {error}")
