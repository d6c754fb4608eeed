"""The state of a training's objects, as tensors and as what JSON can hold: what `run.save_state` keeps.

Whatever has `state_dict` and `load_state_dict` (models, optimisers, schedulers, scalers, averages), random generators,
tensors, lists and dictionaries; and always the states of the random numbers of Python, NumPy and torch. They get back
just what they had, each tensor in the memory format of one that was never saved, for that may decide how it is rounded.
"""

import base64
import random
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.stages.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor

RANDOM = "(random numbers)"
PLAIN = (bool, int, float, str, type(None))


def taken(objects: Mapping[str, Any]) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """All that these objects are now. The tensors are not copied.

    Raises:
        StageError: one is of a kind whose state is not known, or holds what can't be kept; it names it.
    """
    packer = _Packer()
    states = {name: packer.pack(_state_of(name, one), name) for name, one in objects.items()}
    return packer.tensors, {"objects": states, "random": packer.pack(_random_numbers(), RANDOM)}


def give_back(objects: Mapping[str, Any], tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
    """Let these objects be as those were of which the state was taken.

    Raises:
        StageError: other names were kept than are asked for.
    """
    kept = facts.get("objects")
    if kept is None:
        raise StageError("load_state: the checkpoint was not made by save_state; take run.resume() for it")
    if kept.keys() != objects.keys():
        raise StageError(f"load_state: kept were {_names(kept)}, asked for are {_names(objects)}; name the same ones")
    for name, one in objects.items():
        _set(one, _unpacked(kept[name], tensors))
    _set_random_numbers(_unpacked(facts["random"], tensors))


def files_of(folder: Path) -> "dict[str, Tensor]":
    """The bytes of every file below a folder, by its name there.

    Raises:
        StageError: there is none.
    """
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not found:
        raise StageError(f"save_folder: {folder} has no files")
    return {name: _as_tensor(path.read_bytes()) for name, path in found.items()}


def lay_files(folder: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Create the files that `files_of` has read."""
    for name, data in tensors.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data.numpy().tobytes())


def _names(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"


def _state_of(name: str, one: Any) -> Any:
    import numpy as np
    import torch

    if hasattr(one, "state_dict") and hasattr(one, "load_state_dict"):
        return one.state_dict()
    if isinstance(one, torch.Generator):
        return one.get_state()
    if isinstance(one, np.random.Generator):
        return one.bit_generator.state
    if isinstance(one, random.Random):
        return one.getstate()
    if isinstance(one, torch.Tensor | dict | list):
        return one
    raise StageError(
        f"save_state: {name} is a {type(one).__name__}; kept are objects with state_dict and load_state_dict, random "
        "generators, tensors, lists and dictionaries"
    )


def _set(one: Any, state: Any) -> None:
    import numpy as np
    import torch

    if hasattr(one, "load_state_dict"):
        one.load_state_dict(state)
        if isinstance(one, torch.optim.Optimizer):
            _lay_out(one)
    elif isinstance(one, torch.Generator):
        one.set_state(state)
    elif isinstance(one, np.random.Generator):
        one.bit_generator.state = state
    elif isinstance(one, random.Random):
        one.setstate(state)
    elif isinstance(one, torch.Tensor):
        with torch.no_grad():
            one.copy_(state)
    elif isinstance(one, dict):
        one.clear()
        one.update(state)
    else:
        one[:] = state


def _lay_out(optimizer: Any) -> None:
    """Give what an optimiser keeps of each weight the weight's own memory format, as when it was made."""
    import torch

    for weight, kept in optimizer.state.items():
        for key, value in kept.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                kept[key] = torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)


def _random_numbers() -> dict[str, Any]:
    import numpy as np
    import torch

    states = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False), "torch": torch.get_rng_state()}
    return states | ({"cards": torch.cuda.get_rng_state_all()} if torch.cuda.is_initialized() else {})  # type: ignore[no-untyped-call]


def _set_random_numbers(states: Mapping[str, Any]) -> None:
    import numpy as np
    import torch

    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cards" in states:
        torch.cuda.set_rng_state_all(states["cards"])


class _Packer:
    """Puts tensors and arrays aside, and writes the rest as JSON holds it: each value as one letter and what it is."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def pack(self, value: Any, where: str) -> Any:
        import numpy as np
        import torch

        if isinstance(value, torch.Tensor):
            return ["t", self._aside(value.detach(), where)]
        if isinstance(value, np.ndarray | np.generic):
            data = np.ascontiguousarray(value)
            name = self._aside(_as_tensor(data.tobytes()), where)
            return ["n", name, str(data.dtype), list(np.shape(value)), isinstance(value, np.generic)]
        if isinstance(value, Mapping):
            pairs = [[self.pack(k, where), self.pack(v, f"{where}.{k}")] for k, v in value.items()]
            of_a_module = getattr(value, "_metadata", None)
            return ["d", pairs] if of_a_module is None else ["m", pairs, self.pack(of_a_module, where)]
        if isinstance(value, list | tuple | set):
            parts = [self.pack(part, f"{where}.{index}") for index, part in enumerate(value)]
            return ["l" if isinstance(value, list) else "u" if isinstance(value, tuple) else "s", parts]
        if isinstance(value, bytes):
            return ["b", base64.b64encode(value).decode()]
        if type(value) in PLAIN:
            return ["v", value]
        raise StageError(f"save_state: {where} is a {type(value).__name__}, which a checkpoint can't hold")

    def _aside(self, tensor: "Tensor", where: str) -> str:
        name = f"{len(self.tensors)} {where}"
        self.tensors[name] = tensor
        return name


def _as_tensor(data: bytes) -> "Tensor":
    import torch

    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _unpacked(packed: Any, tensors: "Mapping[str, Tensor]") -> Any:
    kind, value, *more = packed
    if kind == "t":
        return tensors[value]
    if kind == "n":
        return _array(tensors[value], *more)
    if kind in "dm":
        pairs = [(_unpacked(k, tensors), _unpacked(v, tensors)) for k, v in value]
        if kind == "d":
            return dict(pairs)
        state = OrderedDict(pairs)
        state._metadata = _unpacked(more[0], tensors)  # type: ignore[attr-defined]  # where torch keeps it
        return state
    if kind in "lus":
        return {"l": list, "u": tuple, "s": set}[kind](_unpacked(part, tensors) for part in value)
    return base64.b64decode(value) if kind == "b" else value


def _array(flat: "Tensor", dtype: str, shape: list[int], is_scalar: bool) -> Any:
    import numpy as np

    array = np.ndarray(shape, np.dtype(dtype), flat.numpy().tobytes()).copy()
    return array[()] if is_scalar else array
