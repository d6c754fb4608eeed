import json
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from repro.stages.errors import StageError
from repro.stages.images.stream import Stream
from repro.stages.images.transforms import Augmentation

EVERYTHING = {
    "rotation": 30.0, "shift": 0.2, "scale": 0.2, "flip_horizontal": 0.5, "flip_vertical": 0.5,
    "brightness": 0.3, "contrast": 0.3, "noise": 0.1, "padding": "edge", "seed": 3,
}  # fmt: skip


def make(folder, augmentation=None, shape=(7, 5, 3), count=23):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    pixels.tofile(folder / "data.bin")
    metadata = {
        "shape": [count, *shape], "dtype": "uint8", "data": "data.bin", "classes": ["a", "b"],
        "labels": [i % 2 for i in range(count)], "validation": [1, 4, 9], "files": [str(i) for i in range(count)],
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))
    if augmentation is not None:
        (folder / "augmentation.json").write_text(json.dumps(augmentation))
    return pixels


def as_floats(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def test_an_epoch_sees_every_training_image_once(tmp_path):
    pixels = make(tmp_path)
    stream = Stream(tmp_path, 8)
    assert (stream.batches, stream.validation_batches) == (3, 1)
    for epoch in range(2):
        images = torch.cat([stream.batch(epoch, i)[0] for i in range(stream.batches)])
        wanted = np.delete(pixels, [1, 4, 9], axis=0)
        order = lambda t: sorted(map(bytes, t.flatten(1).numpy()))  # noqa: E731
        assert order(images) == order(as_floats(wanted))
    assert len(stream.batch(0, 2)[0]) == 4


def test_epochs_and_seeds_are_shuffled_differently(tmp_path):
    make(tmp_path)
    firsts = [Stream(tmp_path, 20, seed=s).batch(e, 0)[0] for s, e in [(0, 0), (0, 1), (1, 0)]]
    assert all(not torch.equal(a, b) for a, b in [*pairwise(firsts), (firsts[0], firsts[2])])


def test_validation_is_plain_and_in_order(tmp_path):
    pixels = make(tmp_path, EVERYTHING)
    images, labels = Stream(tmp_path, 2).validation(1)
    assert torch.equal(images, as_floats(pixels[[9]]))
    assert labels.tolist() == [1]
    assert labels.dtype == torch.int64


def test_a_batch_depends_on_nothing_before_it(tmp_path):
    make(tmp_path, EVERYTHING)
    wanted = {(e, i): Stream(tmp_path, 8, seed=1).batch(e, i) for e in range(2) for i in range(3)}
    stream = Stream(tmp_path, 8, seed=1)
    for key in [(1, 2), (0, 0), (1, 0), (0, 2), (0, 1), (1, 1), (0, 0)]:
        torch.rand(3)  # the global generator has no part in it
        for found, expected in zip(stream.batch(*key), wanted[key], strict=True):
            assert torch.equal(found, expected)


def test_augmented_values_keep_shape_type_and_range(tmp_path):
    make(tmp_path, EVERYTHING)
    images, labels = Stream(tmp_path, 8).batch(0, 0)
    assert (images.shape, images.dtype, labels.shape) == ((8, 3, 7, 5), torch.float32, (8,))
    assert images.is_contiguous()
    assert 0 <= images.min() < images.max() <= 1


def test_off_means_the_very_bytes(tmp_path):
    pixels = make(tmp_path, dict.fromkeys(("rotation", "shift", "noise", "brightness"), 0.0))
    stream = Stream(tmp_path, 20)
    images, _ = stream.batch(0, 0)
    assert torch.equal(images, stream.plain(stream._order(0))[0])
    assert torch.equal(stream.augmented(np.arange(23), 5), as_floats(pixels))


@pytest.mark.parametrize("size", [0, -1])
def test_batch_size(tmp_path, size):
    make(tmp_path)
    with pytest.raises(StageError, match="batch_size"):
        Stream(tmp_path, size)


def test_an_index_outside_the_epoch(tmp_path):
    make(tmp_path)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            Stream(tmp_path, 8).batch(0, index)


def test_a_broken_augmentation_is_named(tmp_path):
    make(tmp_path, {"rotatoin": 3})
    with pytest.raises(StageError, match=r"augmentation\.json"):
        Stream(tmp_path, 8)


def images_of(count=512, shape=(6, 8, 1)):
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8))


@pytest.mark.parametrize(("key", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
@pytest.mark.parametrize("warped", [False, True])
def test_flips(key, axis, warped):
    images = images_of()
    augmentation = Augmentation(**{key: 0.25, "rotation": 1e-9 if warped else 0.0})
    found = augmentation.apply(images, 0, 0)
    flipped = (found - as_floats(images.flip(axis).numpy())).abs().amax((1, 2, 3)) < 1e-4
    same = (found - as_floats(images.numpy())).abs().amax((1, 2, 3)) < 1e-4
    assert torch.all(flipped ^ same)
    assert 80 < flipped.sum() < 180


def test_shift_moves_by_whole_pixels_in_the_right_direction():
    """Every image is moved by a fraction up to the strength, and zeros come in from the side."""
    images = torch.full((256, 10, 10, 1), 255, dtype=torch.uint8)
    lost = 1 - Augmentation(shift=0.3).apply(images, 0, 0).mean((1, 2, 3))
    assert 0.4 < lost.max() <= 1 - 0.7 * 0.7
    assert torch.all(Augmentation(shift=0.3, padding="edge").apply(images, 0, 0) > 0.999)


def test_rotation_keeps_a_disc_and_the_aspect():
    """A disc about the centre stays as it is under any turn, also where height and width differ."""
    y, x = np.mgrid[0:40, 0:60]
    disc = (((y - 19.5) ** 2 + (x - 29.5) ** 2) < 15**2).astype(np.uint8) * 255
    images = torch.from_numpy(disc[None, :, :, None].repeat(64, 0))
    found = Augmentation(rotation=180).apply(images, 0, 0)
    assert (found - as_floats(images.numpy())).abs().mean() < 0.02


def test_scale_changes_the_area():
    images = torch.zeros(256, 40, 40, 1, dtype=torch.uint8)
    images[:, 10:30, 10:30] = 255
    area = Augmentation(scale=0.5).apply(images, 0, 0).sum((1, 2, 3)) / 400
    assert 0.24 < area.min() < 0.4
    assert 2.0 < area.max() < 2.26


def test_tones():
    grey = torch.full((512, 4, 4, 1), 51, dtype=torch.uint8)  # 0.2
    bright = Augmentation(brightness=0.1).apply(grey, 0, 0)[:, 0, 0, 0]
    assert bright.min() == pytest.approx(0.1, abs=0.005)
    assert bright.max() == pytest.approx(0.3, abs=0.005)
    contrast = Augmentation(contrast=0.5).apply(grey, 0, 0)[:, 0, 0, 0]
    assert contrast.min() == pytest.approx(0.05, abs=0.005)
    assert contrast.max() == pytest.approx(0.35, abs=0.005)


@pytest.mark.parametrize("shape", [(8, 8, 1), (300, 300, 3)])
def test_noise_is_gaussian_and_its_own_for_every_image_and_batch(shape):
    grey = torch.full((24, *shape), 128, dtype=torch.uint8)
    augmentation = Augmentation(noise=0.1)
    draws = [(augmentation.apply(grey, 0, i) - 128 / 255).flatten(1) for i in range(2)]
    found = torch.cat(draws)
    assert found.std() == pytest.approx(0.1, rel=0.05)
    assert abs(found.mean()) < 0.01
    assert (found.abs() < 0.1).float().mean() == pytest.approx(0.683, abs=0.02)
    correlation = torch.corrcoef(found) - torch.eye(len(found))
    assert correlation.abs().max() < 6 / found.shape[1] ** 0.5


def test_switching_one_operation_on_leaves_the_others_draws_alone():
    images = images_of(64)
    without = Augmentation(brightness=0.2).apply(images, 0, 0)
    beside = Augmentation(brightness=0.2, flip_horizontal=1.0).apply(images, 0, 0)
    assert torch.equal(without.flip(3), beside)


@pytest.mark.cuda
def test_the_card_draws_the_same(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    make(tmp_path, EVERYTHING, shape=(64, 64, 3))
    cpu, cuda = (Stream(tmp_path, 8, device=device).batch(1, 1) for device in ("cpu", "cuda"))
    assert torch.allclose(cpu[0], cuda[0].cpu(), atol=1e-4)
    assert torch.equal(cpu[1], cuda[1].cpu())


@pytest.mark.parametrize("on", ["nothing", "flips", "noise", "everything"])
@pytest.mark.parametrize("shape", [(7, 5, 3), (100, 100, 3)], ids=["one group", "groups of four"])
def test_parts_of_a_batch_are_what_they_are_in_the_whole(tmp_path, on, shape):
    strengths = {"nothing": {}, "flips": {"flip_vertical": 0.5}, "noise": {"noise": 0.1}, "everything": EVERYTHING}[on]
    make(tmp_path, strengths, shape)
    stream = Stream(tmp_path, 9)
    for index in range(stream.batches):
        images, labels = stream.batch(1, index)
        assert stream.size(index) == len(labels)
        for count in (2, 3, 9):
            cuts = [len(labels) * i // count for i in range(count + 1)]
            parts = [stream.batch(1, index, slice(*cut)) for cut in pairwise(cuts)]
            assert torch.equal(torch.cat([some for some, _ in parts]), images)
            assert torch.equal(torch.cat([their for _, their in parts]), labels)


def test_what_is_read_ahead_is_the_same(tmp_path):
    make(tmp_path, EVERYTHING)
    stream = Stream(tmp_path, 6)
    for first in range(stream.batches):
        for part in (lambda size: slice(0, size), lambda size: slice(size // 2, size)):
            wanted, found = (list(stream.from_batch(2, first, part, ahead)) for ahead in (False, True))
            assert len(found) == stream.batches - first
            for one, other in zip(wanted, found, strict=True):
                assert torch.equal(one[0], other[0])
                assert torch.equal(one[1], other[1])


def test_whoever_stops_early_leaves_no_reader(tmp_path):
    make(tmp_path)
    before = threading.active_count()
    batches = Stream(tmp_path, 6).from_batch(0, 0, lambda size: slice(0, size), ahead=True)
    next(batches)
    batches.close()
    assert threading.active_count() == before
