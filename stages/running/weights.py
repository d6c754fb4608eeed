"""The values of a file of `torch.save`, read without running what a pickle may name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def values(path: Path) -> dict[str, Any]:
    """Arrays, numbers and texts by the way to them.

    Raises:
        ValueError: the file holds more than tensors and plain values (`weights_only` of torch.load).
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of hostile bytes it raises nearly anything
        raise ValueError(str(error).splitlines()[0][:200] if str(error) else type(error).__name__) from None
    return dict(_walk(loaded, "", torch.Tensor))


def _walk(value: Any, name: str, tensor: type) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, f"{name}/{key}", tensor)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _walk(inner, f"{name}/{place}", tensor)
    elif isinstance(value, tensor):
        plain = value.detach().to_dense() if value.is_sparse else value.detach()  # type: ignore[attr-defined]
        yield name, (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()
    else:
        yield name, value
