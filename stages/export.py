"""stage export: a model -> files that other programs run, checked against it."""

import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from repro.stages.errors import StageError
from repro.stages.images import model_file
from repro.stages.run import Metrics, Run

OPSET = 18  # of ONNX; fixed, for the default moves with torch
EXTRA = ("onnx", "onnxscript", "onnxruntime")

Network = Callable[[Tensor], Tensor]


def export(run: Run) -> Metrics:
    """Write the only source's model as `model.onnx` (ONNX, opset 18), `model.pt2` (`torch.export`) or both.

    Both take `images`, float32 B, C, H, W in [0, 1] with B free, and give `logits` B, classes. The model's
    description (classes, shape) goes along: in ONNX's metadata, in the archive's `extra/description`.
    Neither file says where its code or its libraries lay: the same model gives the same bytes anywhere.

    Returns:
        `difference_onnx`, `difference_torch`: the greatest absolute difference of a logit from the model's
        own, over fixed random images.

    Raises:
        StageError: unknown format, the onnx extra is missing, or a difference above `tolerance`.
    """
    names = _formats(run.params.get("format"))
    tolerance = run.params.get("tolerance", 1e-4)
    model, description = model_file.load(run.source)
    text = json.dumps(description, sort_keys=True)
    program = _trace(model, description["shape"])
    metrics: Metrics = {}
    for step, name in enumerate(names, 1):
        file, write, read = FORMATS[name]
        data = write(program, text)
        metrics[f"difference_{name}"] = difference = _difference(model, read(data), description["shape"])
        if not difference <= tolerance:
            raise StageError(
                f'"{name}": differs from the model by {difference:.3g}, "tolerance" is {tolerance}; nothing was written'
            )
        with run.open(file, "xb") as out:
            out.write(data)
        run.progress(step, len(names), difference=difference)
    return metrics


def _formats(wanted: Any) -> list[str]:
    """Which formats a config wants; all of them where it does not say."""
    names = list(FORMATS) if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise StageError(f'"format": unknown {json.dumps(unknown or names)}; there are: {", ".join(FORMATS)}')
    if "onnx" in names:
        _check_extra()
    return [name for name in FORMATS if name in names]


def _check_extra() -> None:
    try:
        for module in EXTRA:
            importlib.import_module(module)
    except ImportError as error:
        raise StageError(
            f'"format": "onnx" needs {error.name or "onnx"}: pip install "repro-queue[onnx]", or take "torch"'
        ) from error


def _trace(model: nn.Module, shape: list[int]) -> ExportedProgram:
    """The model as a graph without a word on the code that it came from."""
    program = torch.export.export(
        _Named(model).eval(), (_images(shape, 2),), dynamic_shapes=({0: Dim("batch", min=1)},), strict=False
    )
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "custom", "from_node"):
                node.meta.pop(key, None)
    return program


class _Named(nn.Module):
    """Gives the network's input its name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


def _images(shape: list[int], count: int) -> Tensor:
    height, width, channels = shape
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(count))


def _difference(model: nn.Module, other: Network, shape: list[int]) -> float:
    """The greatest absolute difference of two networks' logits, over batches of several sizes."""
    greatest = 0.0
    with torch.inference_mode():
        for count in (1, 2, 7):
            images = _images(shape, count)
            greatest = max(greatest, float((model(images) - other(images)).abs().max()))
    return greatest


def _write_torch(program: ExportedProgram, description: str) -> bytes:
    # To a file object: a path would name the archive's inner folder.
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"description": description})
    return file.getvalue()


def _read_torch(data: bytes) -> Network:
    module: Network = torch.export.load(io.BytesIO(data)).module()
    return module


def _write_onnx(program: ExportedProgram, description: str) -> bytes:
    with _quiet():
        converted = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, output_names=["logits"], verbose=False, optimize=True
        )
    if converted is None:
        raise StageError('"format": this torch gives no ONNX program; install torch 2.6 or newer')
    proto = converted.model_proto
    _strip(proto)
    proto.producer_version = ""
    proto.metadata_props.add(key="description", value=description)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _read_onnx(data: bytes) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _strip(message: Any) -> None:
    """Clear what a protobuf message and all in it say of their origin: stack traces, names of modules."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for inner in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                _strip(inner)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns of its own use of its own deprecated class, and that torchvision is not there."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        log.setLevel(level)


FORMATS = {
    "onnx": ("model.onnx", _write_onnx, _read_onnx),
    "torch": ("model.pt2", _write_torch, _read_torch),
}


if __name__ == "__main__":
    from repro.stages.running.arguments import main

    main("export")
