"""What augmentation does to a batch: one affine warp with the flips, brightness, contrast, noise."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Values worked on at once: a few passes over them stay in a core's cache. Groups share one run of noise.
GROUP = 1 << 17
# Gaussian values drawn once a process, far cheaper than drawing anew for every batch: a group of images
# takes a run of them from a random place. Two groups start at the same place with a chance of 1 in 4 million.
NOISE = 1 << 22
# A row of random numbers each, whether it is on or not: switching one on leaves the others' draws alone.
DRAWS = ("rotation", "shift_x", "shift_y", "scale", "flip_x", "flip_y", "brightness", "contrast", "noise")
PADDINGS = {"zero": "zeros", "edge": "border"}


def generator(*words: str | int) -> torch.Generator:
    """A generator seeded by a hash of the words, so that different uses don't share a sequence."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


@dataclass(frozen=True)
class Augmentation:
    """Strengths, all off by default; `repro.stages.augment` explains them and their units."""

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    padding: str = "zero"
    seed: int = 0

    @property
    def warps(self) -> bool:
        return bool(self.rotation or self.shift or self.scale)

    @property
    def tones(self) -> bool:
        return bool(self.brightness or self.contrast)

    def apply(self, images: Tensor, epoch: int, index: int, first: int = 0, whole: int | None = None) -> Tensor:
        """uint8 (B, H, W, C) -> float32 (B, C, H, W) in [0, 1] on the same device; pure.

        The images may be some of a batch of `whole`, from its `first` on: they come out as they would with the others.
        """
        count, height, width, channels = images.shape
        whole = count if whole is None else whole
        draws = torch.rand(len(DRAWS), whole, generator=generator("batch", self.seed, epoch, index))
        offsets, draws = draws[-1].tolist(), draws.to(images.device, non_blocking=True)
        out = torch.empty(count, channels, height, width, device=images.device)
        group = max(1, GROUP // (height * width * channels))
        for start, end in _groups(first, first + count, group if images.device.type == "cpu" else whole):
            part = slice(start - first, end - first)
            drawn = dict(zip(DRAWS, draws[:, start:end], strict=True))
            self._apply(images[part].permute(0, 3, 1, 2), drawn, out[part])
            if self.noise:
                self._add_noise(out[part], offsets, start, group)
            if self.warps or self.tones or self.noise:
                out[part].clamp_(0.0, 1.0)
        return out

    def _apply(self, images: Tensor, drawn: dict[str, Tensor], out: Tensor) -> None:
        """All but the noise, of uint8 images (B, C, H, W) into `out`; operations that are off cost nothing."""
        if self.warps:
            images = self._warp(images.float(), drawn)
        elif self.flip_horizontal or self.flip_vertical:
            images = self._flip(images, drawn)
        if self.tones:
            factor, term = self._tones(drawn)
            torch.mul(images, factor, out=out).add_(term)
        else:
            torch.div(images, 255.0, out=out)

    def _warp(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Turned, scaled, shifted and flipped in one interpolation."""
        _, _, height, width = images.shape
        u, v, t = self._inverse(drawn, height, width)
        xs, ys = _centres(width, images.device), _centres(height, images.device)
        # A complex number a place, real part x: one vectorised sum makes the whole grid.
        across = torch.view_as_complex(xs[None, :, None] * u[:, None] + t[:, None])
        down = torch.view_as_complex(ys[None, :, None] * v[:, None])
        grid = torch.view_as_real(across[:, None, :] + down[:, :, None])
        return F.grid_sample(images, grid, "bilinear", PADDINGS[self.padding], align_corners=False)

    def _inverse(self, drawn: dict[str, Tensor], height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Where an output's place (x, y), each in [-1, 1], comes from: x * u + y * v + t, each (B, 2)."""
        angle = _signed(drawn["rotation"]) * math.radians(self.rotation)
        zoom = 1.0 / (1.0 + _signed(drawn["scale"]) * self.scale)
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        flips = torch.stack([self._mirror(drawn, "x"), self._mirror(drawn, "y")], 1)
        u = torch.stack([cos, -sin * (width / height)], 1) * flips
        v = torch.stack([sin * (height / width), cos], 1) * flips
        shift = 2.0 * self.shift
        x, y = _signed(drawn["shift_x"]) * shift, _signed(drawn["shift_y"]) * shift
        return u, v, -(x[:, None] * u + y[:, None] * v)

    def _mirror(self, drawn: dict[str, Tensor], axis: str) -> Tensor:
        probability = self.flip_horizontal if axis == "x" else self.flip_vertical
        return 1.0 - 2.0 * (drawn[f"flip_{axis}"] < probability).float()

    def _flip(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        for axis, dimension in (("x", 3), ("y", 2)):
            chosen = self._mirror(drawn, axis).view(-1, 1, 1, 1) < 0
            images = torch.where(chosen, images.flip(dimension), images)
        return images

    def _tones(self, drawn: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Factor and term, each (B, 1, 1, 1), for pixels in 0..255; contrast turns about the middle grey."""
        contrast = 1.0 + _signed(drawn["contrast"]) * self.contrast
        term = 0.5 - 0.5 * contrast + _signed(drawn["brightness"]) * self.brightness
        return (contrast / 255.0).view(-1, 1, 1, 1), term.view(-1, 1, 1, 1)

    def _add_noise(self, out: Tensor, offsets: list[float], first: int, group: int) -> None:
        """To the images of a batch from its `first` on; each group of the batch has one run of the table."""
        size, whole = out[0].numel(), len(offsets)
        for start, end in _groups(first, first + len(out), group):
            beginning = start - start % group
            values = (min(beginning + group, whole) - beginning) * size
            table = _noise(max(NOISE, 2 * values), out.device)
            offset = int(offsets[beginning] * (len(table) - values)) + (start - beginning) * size
            part = out[start - first : end - first]
            part.add_(table[offset : offset + part.numel()].view(part.shape), alpha=self.noise)


def _groups(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) cut at the multiples of `size`."""
    while start < end:
        yield start, (start := min(end, start - start % size + size))


def _signed(uniform: Tensor) -> Tensor:
    """[0, 1) -> [-1, 1)."""
    return uniform * 2.0 - 1.0


def _centres(size: int, device: torch.device) -> Tensor:
    """The pixels' centres along a side that spans [-1, 1], as grid_sample counts."""
    return (torch.arange(size, device=device) * 2.0 + 1.0) / size - 1.0


@lru_cache(maxsize=2)
def _noise(size: int, device: torch.device) -> Tensor:
    return torch.randn(size, generator=generator("noise", size)).to(device)
