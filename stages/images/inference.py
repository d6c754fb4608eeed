"""What a model answers to the images of a dataset."""

import numpy as np
import torch
from torch import Tensor, nn

from repro.stages.images.stream import Stream

PORTION = 256  # images at once


def answers(model: nn.Module, stream: Stream, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """Logits N, classes and labels N, both on the CPU, of some of a stream's images as they are.

    Always in portions of one size: another batch size could round otherwise.
    """
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        portions = (indices[i : i + PORTION] for i in range(0, len(indices), PORTION))
        answered = [(model(images).cpu(), labels.cpu()) for images, labels in map(stream.plain, portions)]
    model.train(was_training)
    return torch.cat([logits for logits, _ in answered]), torch.cat([labels for _, labels in answered])
