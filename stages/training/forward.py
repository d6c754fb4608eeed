"""A network as the config wants it computed: precision, memory format, compiled or not."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from repro.stages.run import Run
from repro.stages.running import determinism
from repro.stages.training.options import TrainOptions

Forward = Callable[[Tensor], Tensor]


def forward_of(run: Run, options: TrainOptions, network: nn.Module) -> Forward:
    """Images -> logits in float32, by the network in training and as the config wants it computed."""
    model = _compiled(run, network) if options.compile else network
    half, last = options.precision == "bf16", options.channels_last
    device = determinism.device(run.params)

    def forward(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last) if last else images
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits: Tensor = model(images)
        return logits.float()

    return forward


def _compiled(run: Run, model: nn.Module) -> Forward:
    """One graph for each size of batch, so that none depends on which sizes came before; what is compiled is this
    run's own, and in this process: a cache in /tmp belongs to nobody."""
    from torch._inductor import config

    if run.checkpoints is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(run.checkpoints.folder / ".compiled")
    config.compile_threads = 1
    if hasattr(config, "cpp_cache_precompile_headers"):  # they would lie in /tmp all the same
        config.cpp_cache_precompile_headers = False
    compiled: Forward = torch.compile(model, dynamic=False)
    return compiled
