"""A model on disk: `model.safetensors`, which explains itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from repro.stages.errors import StageError
from repro.stages.images.networks import build
from repro.stages.run import Run

MODEL = "model.safetensors"


def save(run: Run, model: nn.Module, description: Mapping[str, Any]) -> None:
    """Create `model.safetensors`; what the model is stands as JSON in its one metadata key.

    With two keys or more the order of safetensors' header, and so its bytes, would vary.

    Args:
        description: `arch`, `params` (as `networks.resolve` gave them), `shape` (H, W, C), `classes` (names), and
            whatever else its users need.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"description": json.dumps(description, sort_keys=True)}
    with run.open(MODEL, "xb") as file:
        file.write(to_bytes(tensors, metadata))


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run's folder, ready to be evaluated on the CPU, and its description.

    Raises:
        StageError: there is no model, or it is not one that `save` wrote.
    """
    path = folder / MODEL
    if not path.is_file():
        raise StageError(f'source "{folder.name}" holds no {MODEL}; name the config of a train stage')
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        shape, classes = tuple(description["shape"]), len(description["classes"])
        model = build(description["arch"], shape, classes, description["params"])
        model.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise StageError(f'source "{folder.name}": {MODEL} is no model of a train stage: {reason}') from error
    return model.eval(), description
