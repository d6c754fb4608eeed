"""A small real stage for tests, offered to the registry through a real entry point on the path."""

import json
import locale
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from repro.stages.own_files import OWN_FILES
from repro.stages.source import registry


def sample(run):
    """Fits a small network to numbers drawn from the seed, a chain of sources added to them."""
    import torch

    params = run.params
    with run.open("seen.json") as file:  # what lay in the folder when the stage began
        json.dump({path.name: path.read_text() for path in run.out.iterdir() if path.name != "seen.json"}, file)
    if params.get("fail", False):
        raise RuntimeError("first line\nsecond line")
    channels, lr = params.get("channels", 5), params.get("lr", 0.1)
    data = torch.randn(256, 64)
    for folder in run.inputs.values():
        data += torch.frombuffer(bytearray((folder / "weights.bin").read_bytes()), dtype=torch.float32).mean()
    model = torch.nn.Sequential(torch.nn.Linear(64, channels), torch.nn.Tanh(), torch.nn.Linear(channels, 1))
    for step in range(params.get("steps", 3)):
        loss = (model(data) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight.sub_(lr * weight.grad)
                weight.grad = None
        run.progress(step + 1, params.get("steps", 3), loss=loss.item())
    with run.open("weights.bin", "xb") as file:
        for weight in model.parameters():
            file.write(weight.detach().numpy().tobytes())
    with run.open("machine.txt") as file:
        print(torch.get_num_threads(), torch.get_default_dtype(), file=file)
    with run.open("habits.txt", "xb") as file:
        file.write("\n".join(habits(run)).encode())
    return {"loss": loss.item()}


def habits(run):
    """What people write without a thought, and what differs from machine to machine if nobody sees to it."""
    words = {"zebra", "Äpfel", "apple", "Zoo", "éclair"}
    yield f"a set: {list(words)}"
    yield f"a hash: {hash('repro')}"
    yield f"a date: {time.strftime('%c', time.localtime(1_700_000_000))}"
    yield f"files: {os.listdir(run.out)}"  # noqa: PTH208 - in the order of the file system
    locale.setlocale(locale.LC_ALL, "")
    yield f"by the locale: {sorted(words, key=locale.strxfrm)} {locale.format_string('%.2f', 1234.5, grouping=True)}"
    yield f"an encoding: {locale.getencoding()} {sys.getfilesystemencoding()}"


def install(folder: Path) -> Path:
    """Write a distribution that offers the stage; the folder belongs on the path."""
    info = folder / "sample-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "sample_stage.py").write_text(Path(__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[repro.stages]\nsample = sample_stage:sample\n")
    return folder


def forget():
    registry.available.cache_clear()
    registry._keys.cache_clear()
    registry._keys_now.forget()


@contextmanager
def offered(folder: Path):
    """The stage in this process's registry."""
    sys.path.insert(0, str(install(folder)))
    forget()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("sample_stage", None)
        forget()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """For a child process to which the stage is offered too."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[1] / "src")]), **more}


MAIN = "import sys; from repro import main; main('sample', sys.argv[1:])"


def outputs(folder: Path) -> dict[str, bytes]:
    """Every result file; the config's copy, repro-run.json and what the stage saw of the config are not among them."""
    own = (*OWN_FILES, "seen.json")
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name not in own}


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}
