"""Augmented images a second on one core: Stream.batch against albumentations, kornia and OpenCV by hand.

    .venv/bin/python benchmarks/stream.py --peers .venv-bench/bin/python

The same operations everywhere, drawn anew for every image: horizontal flip, rotation with shift and scale
(bilinear), brightness and contrast, Gaussian noise; from uint8 (B, H, W, C) to float32 (B, C, H, W).
Every contender runs in a process of its own on the same core, with one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = [(8, 1), (28, 1), (64, 3), (224, 3)]
BATCH = 64
IMAGES = 256
ROTATION, SHIFT, SCALE, TONE, NOISE = 15.0, 0.1, 0.1, 0.2, 0.05
STRENGTHS = {
    "rotation": ROTATION, "shift": SHIFT, "scale": SCALE, "flip_horizontal": 0.5,
    "brightness": TONE, "contrast": TONE, "noise": NOISE,
}  # fmt: skip
Batch = Callable[[], Any]


def pixels(side: int, channels: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, channels), dtype=np.uint8)


def batches(images: Any) -> Iterator[Any]:
    """Endless uint8 batches, gathered in a shuffled order."""
    generator = np.random.default_rng(1)
    while True:
        for indices in generator.permutation(len(images)).reshape(-1, BATCH):
            yield images[indices]


def stream(side: int, channels: int) -> Batch:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from repro.stages.images.stream import Stream

    folder = Path(tempfile.mkdtemp())
    pixels(side, channels).tofile(folder / "data.bin")
    metadata = {
        "shape": [IMAGES, side, side, channels], "dtype": "uint8", "data": "data.bin", "classes": ["a"],
        "labels": [0] * IMAGES, "validation": [], "files": [str(i) for i in range(IMAGES)],
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "augmentation.json").write_text(json.dumps(STRENGTHS))
    made = Stream(folder, BATCH)
    steps = iter(range(10**9))
    return lambda: made.batch(*divmod(next(steps), made.batches))


def albumentations(side: int, channels: int) -> Batch:
    import albumentations as A
    import torch

    move = {"x": (-SHIFT, SHIFT), "y": (-SHIFT, SHIFT)}
    transform = A.Compose([
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-ROTATION, ROTATION), translate_percent=move, scale=(1 - SCALE, 1 + SCALE), p=1),
        A.RandomBrightnessContrast(TONE, TONE, p=1),
        A.GaussNoise(std_range=(NOISE, NOISE), p=1),
        A.ToFloat(max_value=255, p=1),
        A.ToTensorV2(p=1),
    ])  # fmt: skip
    source = batches(pixels(side, channels))
    return lambda: torch.stack([transform(image=image)["image"] for image in next(source)])


def kornia(side: int, channels: int) -> Batch:
    import torch
    from kornia import augmentation as K

    transform = torch.nn.Sequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(ROTATION, (SHIFT, SHIFT), (1 - SCALE, 1 + SCALE), p=1.0),
        K.RandomBrightness((1 - TONE, 1 + TONE), p=1.0),
        K.RandomContrast((1 - TONE, 1 + TONE), p=1.0),
        K.RandomGaussianNoise(0.0, NOISE, p=1.0),
    )
    source = batches(pixels(side, channels))
    return lambda: transform(torch.from_numpy(next(source)).permute(0, 3, 1, 2).float().div_(255))


def opencv(side: int, channels: int) -> Batch:
    """What a patient author would write: no library around OpenCV, the batch preallocated."""
    import cv2
    import torch

    generator, half = np.random.default_rng(2), (side - 1) / 2
    noise = np.empty((side, side, channels), np.float32)

    def one(image: Any, out: Any) -> None:
        draw = generator.uniform(-1, 1, 7)
        matrix = cv2.getRotationMatrix2D((half, half), draw[0] * ROTATION, 1 + draw[1] * SCALE)
        matrix[:, 2] += draw[2:4] * SHIFT * side
        image = cv2.warpAffine(image[:, ::-1] if draw[4] < 0 else image, matrix, (side, side))
        contrast = 1 + draw[5] * TONE
        cv2.randn(noise, 0.5 - 0.5 * contrast + draw[6] * TONE, NOISE)
        made = image.reshape(noise.shape) * np.float32(contrast / 255)
        made += noise
        np.clip(made.transpose(2, 0, 1), 0, 1, out=out)

    def batch() -> Any:
        out = np.empty((BATCH, channels, side, side), np.float32)
        for image, target in zip(next(source), out, strict=True):
            one(image, target)
        return torch.from_numpy(out)

    source = batches(pixels(side, channels))
    return batch


CONTENDERS = {"stream": stream, "albumentations": albumentations, "kornia": kornia, "opencv": opencv}


def measure(contender: str, seconds: float) -> list[float]:
    """Images a second at every size: the best of five windows, after a warm-up."""
    import torch

    torch.set_num_threads(1)
    if contender in ("albumentations", "opencv"):
        import cv2

        cv2.setNumThreads(0)
    return [_rate(CONTENDERS[contender](*size), seconds) for size in SIZES]


def _rate(batch: Batch, seconds: float) -> float:
    made = batch()
    images = made[0] if isinstance(made, tuple) else made
    assert (len(images), str(images.dtype)) == (BATCH, "torch.float32"), images.shape
    best = 0.0
    for _ in range(5):
        start, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds:
            batch()
            count += BATCH
        best = max(best, count / spent)
    return best


def child(python: str, contender: str, seconds: float) -> list[float]:
    command = [python, __file__, "--contender", contender, "--seconds", str(seconds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def interleaved(peers: str, seconds: float, rounds: int) -> dict[str, list[float]]:
    """The best rate of several rounds: on a shared machine, a load that comes and goes meets all alike."""
    rates = {name: [0.0] * len(SIZES) for name in CONTENDERS}
    for _ in range(rounds):
        for name, before in rates.items():
            found = child(sys.executable if name == "stream" else peers, name, seconds)
            rates[name] = [max(pair) for pair in zip(before, found, strict=True)]
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=".venv-bench/bin/python", help="interpreter that has the peers")
    parser.add_argument("--seconds", type=float, default=0.2, help="a window, five of which are measured")
    parser.add_argument("--rounds", type=int, default=4, help="of all contenders, one after the other")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(measure(options.contender, options.seconds)))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # inherited by every contender
    rates = interleaved(options.peers, options.seconds, options.rounds)
    print(f"{'images/s':16}" + "".join(f"{f'{s}x{s}x{c}':>12}" for s, c in SIZES))
    for name, row in rates.items():
        print(f"{name:16}" + "".join(f"{rate:12,.0f}" for rate in row))
    for name in list(CONTENDERS)[1:]:
        ratios = (ours / theirs for ours, theirs in zip(rates["stream"], rates[name], strict=True))
        print(f"{f'/ {name}':16}" + "".join(f"{ratio:11.2f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
