"""All that a training is between two steps; as tensors and facts it makes a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repro.stages.running.checkpoint_files import Checkpoint


@dataclass
class State:
    """The rate, the batches and the random numbers follow from `step`.

    Attributes:
        average: of the weights, if the config wants one; it is what is measured and saved.
        step: steps done since the beginning.
        history: one row (train loss, validation loss, validation accuracy) for every epoch done.
        losses: of this epoch's steps so far, left on the device.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None = None
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    @property
    def result(self) -> nn.Module:
        return self.average or self.model

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name; they are not copied."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        return tensors | ({"losses": torch.stack(self.losses)} if self.losses else {})

    def facts(self) -> dict[str, Any]:
        return {"history": self.history}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be as it was; every tensor lies in memory as one that was never saved would, for that may decide how it is
        rounded."""
        self.step, self.history = checkpoint.step, checkpoint.facts["history"]
        device = next(self.model.parameters()).device
        self.losses = list(checkpoint.tensors["losses"].to(device)) if "losses" in checkpoint.tensors else []
        for prefix, module in (("model", self.model), ("average", self.average)):
            if module is not None:
                module.load_state_dict(_below(prefix, checkpoint.tensors))
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        kept: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", checkpoint.tensors).items():
            index, _, key = name.partition(".")
            kept.setdefault(int(index), {})[key] = _like(weights[int(index)], tensor)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": kept})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _like(weight: Tensor, tensor: Tensor) -> Tensor:
    """A copy that lies as its weight does; what has another shape, such as a count of steps, stays on the CPU."""
    if tensor.shape != weight.shape:
        return tensor.clone()
    return torch.empty_like(weight, requires_grad=False).copy_(tensor)
