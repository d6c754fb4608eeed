"""The architectures that a config may name as `arch`, each a function that builds a network."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repro.stages.errors import StageError

SMALLEST = 8  # pixels of a side, for a network of convolutions

Shape = tuple[int, int, int]
Options = dict[str, Any]


class Centre(nn.Module):
    """Images in [0, 1] -> [-1, 1]; inside the network, so that whoever uses a model feeds it plain images."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class Mean(nn.Module):
    """B, C, H, W -> B, C. AdaptiveAvgPool2d has no deterministic backward pass on CUDA; this has."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class Block(nn.Module):
    """Two convolutions and a way around them (basic block, He et al. 2015, with GroupNorm)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_convolution(inputs, outputs, stride), nn.ReLU(), _convolution(outputs, outputs))
        plain = inputs == outputs and stride == 1
        self.around = nn.Identity() if plain else _convolution(inputs, outputs, stride, size=1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.inner(features) + self.around(features))


def mlp(shape: Shape, classes: int, options: Options) -> nn.Module:
    """`layers` hidden layers of `hidden` units; images of any size."""
    width, layers = math.prod(shape), list[nn.Module]()
    for _ in range(options["layers"]):
        layers += [nn.Linear(width, options["hidden"]), nn.ReLU(), nn.Dropout(options["dropout"])]
        width = options["hidden"]
    return nn.Sequential(Centre(), nn.Flatten(), *layers, nn.Linear(width, classes))


def baseline(shape: Shape, classes: int, options: Options) -> nn.Module:
    """Five 3 x 3 convolutions from `channels` to 4 `channels`, two of them with stride 2."""
    widths = [options["channels"] * factor for factor in (1, 1, 2, 2, 4)]
    layers, width = list[nn.Module](), shape[2]
    for outputs in widths:
        grows = layers and outputs > width
        layers += [_convolution(width, outputs, 2 if grows else 1), nn.ReLU()]
        width = outputs
    return nn.Sequential(Centre(), *layers, *_head(width, classes, options))


def resnet(shape: Shape, classes: int, options: Options) -> nn.Module:
    """Three stages of `blocks` residual blocks, as He et al. 2015 (4.2) have for small images."""
    width = options["channels"]
    layers: list[nn.Module] = [_convolution(shape[2], width), nn.ReLU()]
    for stage in range(3):
        for block in range(options["blocks"]):
            outputs = options["channels"] * 2**stage
            layers.append(Block(width, outputs, 2 if stage and not block else 1))
            width = outputs
    return nn.Sequential(Centre(), *layers, *_head(width, classes, options))


ARCHS: dict[str, Callable[[Shape, int, Options], nn.Module]] = {
    "baseline": baseline,
    "mlp": mlp,
    "resnet": resnet,
}


def resolve(arch: str, params: Mapping[str, Any]) -> Options:
    """What a config says about an architecture, its defaults filled in.

    Raises:
        StageError: unknown arch, or a value out of range.
    """
    if arch not in ARCHS:
        raise StageError(f'"arch": unknown "{arch}"; there are: {", ".join(sorted(ARCHS))}')
    options: Options = {"dropout": params.get("dropout", 0.1)}
    if arch == "mlp":
        options |= {"hidden": params.get("hidden", 128), "layers": params.get("layers", 2)}
    else:
        options |= {"channels": params.get("channels", 32)}
    if arch == "resnet":
        options |= {"blocks": params.get("blocks", 2)}
    for key, value in options.items():
        if not (0 <= value < 1 if key == "dropout" else value >= 1):
            bounds = "from 0 to below 1" if key == "dropout" else "1 or more"
            raise StageError(f'"{key}": expected {bounds}, got: {value}')
    return options


def build(arch: str, shape: Shape, classes: int, params: Mapping[str, Any]) -> nn.Module:
    """A network from float32 images B, C, H, W in [0, 1] to logits B, `classes`.

    Normalises by groups of channels (GroupNorm, Wu & He 2018), so a batch may be as small as one image and
    training and evaluation compute the same.

    Args:
        shape: H, W, C of an image.

    Raises:
        StageError: unknown arch, a value out of range, images too small for it.
    """
    options = resolve(arch, params)
    if arch != "mlp" and min(shape[:2]) < SMALLEST:
        raise StageError(
            f'"arch": "{arch}" needs images of {SMALLEST} x {SMALLEST} pixels or more, '
            f'got: {shape[0]} x {shape[1]}; take "mlp"'
        )
    return ARCHS[arch](shape, classes, options)


def _convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.GroupNorm(math.gcd(8, outputs), outputs),
    )


def _head(width: int, classes: int, options: Options) -> list[nn.Module]:
    return [Mean(), nn.Dropout(options["dropout"]), nn.Linear(width, classes)]
