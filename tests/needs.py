"""What tests need of the machine beside Python's packages."""

import os
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / ".ci" / "packages"


def need(is_here, what):
    """Where it can't be had, tests skip on a laptop and fail in CI."""
    if is_here:
        return
    why = f"no {what}: apt-get install {' '.join(PACKAGES.read_text().split())}"
    if os.environ.get("CI") == "true":
        raise RuntimeError(why)
    pytest.skip(why)
