"""Networks, and models on disk."""

import json

import pytest
import torch
from safetensors import safe_open

from repro.stages.errors import StageError
from repro.stages.images import model_file, networks
from repro.stages.params import Params
from repro.stages.run import Run

SHAPE = (8, 8, 1)


def saved(tmp_path, name="model", arch="baseline"):
    run = Run(name, Params({}), {}, tmp_path / name)
    torch.manual_seed(0)
    net = networks.build(arch, SHAPE, 3, {})
    description = {"arch": arch, "params": networks.resolve(arch, {}), "shape": SHAPE, "classes": ["a", "b", "c"]}
    run.out.mkdir()
    model_file.save(run, net, description)
    return net.eval(), run.out


@pytest.mark.parametrize("arch", networks.ARCHS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 9, 3), (32, 32, 3)])
def test_every_arch_gives_logits_and_gradients_for_a_single_image(arch, shape):
    net = networks.build(arch, shape, 4, {})
    logits = net(torch.rand(1, shape[2], *shape[:2]))
    assert logits.shape == (1, 4)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("arch", networks.ARCHS)
def test_a_saved_model_is_the_same_model_and_the_same_bytes(tmp_path, arch):
    net, folder = saved(tmp_path, "one", arch)
    _, other = saved(tmp_path, "two", arch)
    loaded, description = model_file.load(folder)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(net(images), loaded(images))
    assert description["classes"] == ["a", "b", "c"]
    assert (folder / model_file.MODEL).read_bytes() == (other / model_file.MODEL).read_bytes()


def test_one_metadata_key_only_for_more_would_have_no_fixed_order(tmp_path):
    _, folder = saved(tmp_path)
    with safe_open(folder / model_file.MODEL, framework="pt") as file:
        assert list(file.metadata()) == ["description"]


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(tmp_path):
    net, _ = saved(tmp_path)
    images = torch.rand(5, 1, 8, 8)
    assert torch.allclose(net(images)[:1], net(images[:1]), atol=1e-6)


def test_an_unknown_arch_lists_the_known_ones():
    with pytest.raises(StageError, match=r'unknown "vgg"; there are: baseline, mlp, resnet'):
        networks.build("vgg", SHAPE, 3, {})


@pytest.mark.parametrize(("key", "value"), [("channels", 0), ("dropout", 1.0), ("dropout", -0.1)])
def test_an_option_out_of_range_is_named(key, value):
    with pytest.raises(StageError, match=f'"{key}": expected'):
        networks.build("baseline", SHAPE, 3, {key: value})


def test_images_too_small_for_convolutions_are_refused_and_mlp_takes_them():
    with pytest.raises(StageError, match='8 x 8 pixels or more, got: 7 x 8; take "mlp"'):
        networks.build("resnet", (7, 8, 1), 3, {})
    assert networks.build("mlp", (2, 2, 1), 3, {})(torch.rand(1, 1, 2, 2)).shape == (1, 3)


def test_a_folder_without_a_model_is_one_clear_line(tmp_path):
    with pytest.raises(StageError, match=r"holds no model\.safetensors; name the config of a train stage"):
        model_file.load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text", "description", "weights"])
def test_a_damaged_or_foreign_model_is_one_clear_line(tmp_path, damage):
    from safetensors.torch import save

    _, folder = saved(tmp_path)
    whole = (folder / model_file.MODEL).read_bytes()
    other = {"description": json.dumps({"arch": "mlp", "params": {}, "shape": SHAPE, "classes": ["a"]})}
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / model_file.MODEL).write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "text": b"no model",
            "description": save({"a": torch.zeros(1)}),
            "weights": save({"a": torch.zeros(1)}, other),
        }[damage]
    )
    with pytest.raises(StageError, match="is no model of a train stage") as caught:
        model_file.load(broken)
    assert "\n" not in str(caught.value)
