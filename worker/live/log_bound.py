"""A log takes no more of a disk, or of the store, than a bound: its beginning and its end are kept.

While a stage prints, the middle is punched out of the file (fallocate(2)): places in it stay what they are, and its
blocks are the disk's again. In the end the file is written without the hole.
"""

import ctypes
import os
import shutil
from pathlib import Path

HEAD, TAIL = 32 << 20, 32 << 20  # bytes that are kept
SLACK = 8 << 20  # bytes past that at which a hole is punched
PUNCH_HOLE, KEEP_SIZE = 2, 1  # Linux, linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


def punch(log: Path) -> None:
    """Give back the blocks of the middle of a log that has outgrown the bound; where none can be, it only grows."""
    size = log.stat().st_size
    if size > HEAD + TAIL + SLACK and hasattr(_libc, "fallocate"):
        handle = os.open(log, os.O_RDWR)
        try:
            offset, length = ctypes.c_longlong(HEAD), ctypes.c_longlong(size - TAIL - HEAD)
            _libc.fallocate(handle, PUNCH_HOLE | KEEP_SIZE, offset, length)
        finally:
            os.close(handle)


def close_hole(log: Path) -> None:
    """Leave in the place of a log that has outgrown the bound its beginning and its end, and between them how many
    bytes are missing."""
    size = log.stat().st_size
    if size <= HEAD + TAIL + SLACK:
        return
    beside = log.with_name(f".{log.name}")
    with log.open("rb") as whole, beside.open("xb") as cut:
        cut.write(whole.read(HEAD))
        cut.write(f"\n--- {size - HEAD - TAIL} bytes left out ---\n".encode())
        whole.seek(size - TAIL)
        shutil.copyfileobj(whole, cut)
    beside.replace(log)
