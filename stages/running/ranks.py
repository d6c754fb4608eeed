"""A run on several ranks: equal processes of one machine that share each batch, with a card each or on the CPU.

How many is a function of the config: `gpus`, or `ranks` where there are none. Every rank runs the stage from its
beginning and holds the whole model; rank 0 alone reports, keeps checkpoints and writes the outputs. A stage that can
do this says so by `RANKS = True` in its module; any other runs on one rank whatever the config says. How the processes
come and go stands in `rank_parent` and `rank_child`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro.stages.errors import StageError
from repro.stages.run import Run

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT = 1  # of the key "ranks", which the stages that can run on several know


def count(config: Mapping[str, Any]) -> int:
    """How many ranks a config asks for. (It is not called `params` here: else every stage would seem to know the key.)

    Raises:
        StageError: fewer than one, or not one for each card.
    """
    ranks, gpus = config.get("ranks", DEFAULT), config.get("gpus", 0)
    if ranks < 1:
        raise StageError(f'"ranks": expected 1 or more, got: {ranks}')
    if gpus and "ranks" in config and ranks != gpus:
        raise StageError(f'"ranks": there is one for each of the {gpus} "gpus", got: {ranks}; leave it out')
    return int(gpus or ranks)


def part(run: Run, size: int) -> slice:
    """What of a batch of so many is this rank's: consecutive ones, evenly; of a small batch it may be none."""
    return slice(size * run.rank // run.ranks, size * (run.rank + 1) // run.ranks)


def add_up(run: Run, model: "nn.Module", loss: "Tensor") -> "Tensor":
    """Put the sum over all ranks in the place of each gradient; returns the sum of the losses.

    Every element is added in the order of the ranks, and the library only carries bytes: how it would add them itself
    depends on how many there are, on how the cards are connected, and on its version.
    """
    import torch

    if run.ranks == 1:
        return loss
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    terms = [loss, *(weight.grad for weight in weights if weight.grad is not None)]
    whole = _summed(torch.cat([term.reshape(-1) for term in terms]), run.ranks)
    sums = torch.split(whole, [term.numel() for term in terms])
    for term, total in zip(terms[1:], sums[1:], strict=True):
        term.copy_(total.view(term.shape))
    return sums[0].reshape(())


def _summed(terms: "Tensor", size: int) -> "Tensor":
    """The sum of a vector over all ranks: each adds up one piece of it, and gives that to all."""
    import torch
    from torch import distributed

    length = -(-len(terms) // size)
    own = torch.nn.functional.pad(terms, (0, length * size - len(terms)))
    pieces, sums = torch.empty_like(own), torch.empty_like(own)
    distributed.all_to_all_single(pieces, own)
    total, *others = pieces.view(size, length).unbind()
    for other in others:
        total += other
    distributed.all_gather(list(sums.view(size, length).unbind()), total)
    return sums[: len(terms)]
