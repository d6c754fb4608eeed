"""Is this machine as a worker needs it: the store, cards, disk, the code? Leaves nothing behind, imports no torch."""

import contextlib
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from repro.scheduler.queue.doctor_report import Check, attempt, error, ok, warning
from repro.scheduler.settings import Settings
from repro.stages import files
from repro.stages.errors import Unreachable
from repro.stages.source import provenance
from repro.worker.gpus import Nvml
from repro.worker.store.store import OVERWRITES, PROBES, Store

PACKAGES = ("torch", "numpy", "safetensors")
LARGE = 20 << 20  # bytes: more than one part of an upload
LEAST_BYTES, LEAST_SHARE = 5 * 10**9, 0.05
TORCH_SECONDS = 120  # its first import on a cold network disk takes long
NVIDIA, DISPLAY = "0x10de", "0x03"  # as /sys writes the maker and the class of a PCI device

# In a process of its own; it computes on every card, since that a card is seen does not mean that it can be used.
ASK_TORCH = """
import json, torch
answer = {"torch": torch.__version__, "cuda": torch.version.cuda, "cards": torch.cuda.device_count()}
try:
    for card in range(answer["cards"]):
        assert (torch.ones(2, device=f"cuda:{card}") * 2).sum().item() == 4
except Exception as error:
    answer["error"] = f"card {card}: {(str(error).splitlines() or [type(error).__name__])[0]}"
print(json.dumps(answer))
"""


def machine(settings: Settings) -> list[Check]:
    """Every check that needs no MongoDB."""
    cards = attempt("GPUs", gpus)
    usable = _cards_or_none()
    local = settings.store.startswith("file://")
    return [
        attempt("store", store, settings),
        *([] if local else [attempt("store, large objects", multipart, settings)]),
        attempt("disk of home", disk, "disk of home", settings.home),
        *(
            [attempt("disk of store", disk, "disk of store", Path(settings.store.removeprefix("file://")))]
            if local
            else []
        ),
        attempt("work folder", work_folder, settings.home / "work"),
        cards,
        *([attempt("torch on GPUs", torch_on_cards, len(usable))] if usable else []),
        attempt("code", code),
        attempt("Python", python),
    ]


def store(settings: Settings) -> Check:
    """A write, a read back, and a create that must be refused; then the removal of all that."""
    results = Store.open(settings.store, settings.home)
    results.objects.check()
    try:
        creates_once = results.probe()
    except OSError as raised:
        return error(
            "store",
            f"{settings.store} does not do what the store needs: {raised.strerror or raised}",
            "use a file system with hard links and fsync (ext4, xfs, NFS), or S3; see REPRO_STORE",
        )
    if creates_once:
        return ok("store", f"{settings.store} can be written, and creates a name once")
    return warning("store", f"{settings.store} {OVERWRITES}", "keep other writers out by the bucket's policy")


def multipart(settings: Settings) -> Check:
    """An object larger than one request, there and back."""
    objects = Store.open(settings.store, settings.home).objects
    with tempfile.TemporaryDirectory() as folder:
        sent, got = Path(folder) / "sent", Path(folder) / "got"
        sent.write_bytes(os.urandom(LARGE))
        key = f"{PROBES}/{secrets.token_hex(8)}"
        same = objects.upload(key, sent) == objects.download(key, got, LARGE)
        with contextlib.suppress(Unreachable):  # who may not delete leaves it to gc
            objects.remove(key)
    if not same:
        return error("store, large objects", f"{settings.store} gave back other bytes", "use another store")
    return ok("store, large objects", f"{LARGE / 1e6:.0f} MB there and back")


def disk(name: str, path: Path) -> Check:
    existing = next(place for place in (path, *path.parents) if os.access(place, os.F_OK))
    usage = shutil.disk_usage(existing)
    return judge_disk(name, existing, usage.free, usage.total)


def judge_disk(name: str, path: Path, free: int, total: int) -> Check:
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free at {path}"
    if free >= LEAST_BYTES and free >= LEAST_SHARE * total:
        return ok(name, found)
    return warning(name, found, "make room: a full disk fails attempts, and stops an embedded MongoDB")


def work_folder(folder: Path) -> Check:
    """Where a run's folder is made, with links to its inputs, before the outputs go to the store."""
    probe = folder / f".doctor-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.create(probe, b"probe")
        link = probe.with_suffix(".link")
        link.symlink_to(probe)
        link.unlink()
    except OSError as raised:
        found = f"{raised.filename or folder} can't be used: {raised.strerror or raised}"
        return error("work folder", found, "set REPRO_HOME to a folder of your own on a local disk")
    finally:
        if folder.is_dir():
            probe.unlink(missing_ok=True)
    return ok("work folder", f"{folder} can be written")


def gpus() -> Check:
    """What NVML, which comes with the driver, says of cards."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as refused:
        absent = isinstance(refused, pynvml.NVMLError_LibraryNotFound)
        return judge_no_driver("" if absent else str(refused), _on_the_bus(Path("/sys/bus/pci/devices")))
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        models = [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return judge_cards(models, len(Nvml().gpus()), driver)


def judge_no_driver(complaint: str, on_the_bus: int) -> Check:
    if complaint:
        return warning(
            "GPUs", f"an NVIDIA driver that does not answer: {complaint}", "see nvidia-smi; after an update, reboot"
        )
    if on_the_bus:
        return warning(
            "GPUs",
            f"no NVIDIA driver, but {on_the_bus} NVIDIA card{'s' * (on_the_bus != 1)} on the PCI bus",
            "install the driver, or start the container with --gpus all; without, only runs with gpus 0 are taken",
        )
    return ok("GPUs", "none; a worker here takes runs with gpus 0")


def judge_cards(models: Sequence[str], usable: int, driver: str) -> Check:
    if not models:
        return warning("GPUs", f"NVIDIA driver {driver}, but no card", "see nvidia-smi and dmesg")
    found = f"{len(models)} ({', '.join(dict.fromkeys(models))}), driver {driver}"
    if usable == len(models):
        return ok("GPUs", found)
    found = f"{found}; {usable} visible"
    return ok("GPUs", found) if usable else warning("GPUs", found, "CUDA_VISIBLE_DEVICES hides them; unset it")


def _on_the_bus(devices: Path) -> int:
    """NVIDIA's display devices and accelerators, driver or not; 0 where there is no such listing."""
    try:
        return sum(
            (device / "vendor").read_text().strip() == NVIDIA and (device / "class").read_text().startswith(DISPLAY)
            for device in devices.iterdir()
        )
    except OSError:
        return 0


def _cards_or_none() -> list[str]:
    """The cards that a worker would use; what is wrong with them is said by `gpus`."""
    try:
        return [card.uuid for card in Nvml().gpus()]
    except Exception:
        return []


def torch_on_cards(cards: int) -> Check:
    command = [sys.executable, "-c", ASK_TORCH]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        found = f"torch did not compute within {TORCH_SECONDS} s"
        return error("torch on GPUs", found, "see nvidia-smi: a card or its driver may hang")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return error("torch on GPUs", f"torch can't be imported: {why}", "pip install torch")
    return judge_torch(json.loads(done.stdout.splitlines()[-1]), cards)


def judge_torch(answer: Mapping[str, Any], cards: int) -> Check:
    name, build = "torch on GPUs", f"torch {answer['torch']}"
    if answer["cuda"] is None:
        return error(
            name,
            f"{build} is built without CUDA, but {cards} card{'s are' if cards != 1 else ' is'} here",
            "install torch's CUDA build (pytorch.org/get-started), or start workers with --gpus none",
        )
    build += f" for CUDA {answer['cuda']}"
    if "error" in answer or answer["cards"] != cards:
        return error(
            name,
            f"{build}: " + (answer.get("error") or f"it sees {answer['cards']} of {cards} cards"),
            "install a torch whose CUDA the driver supports (nvidia-smi names it), or a newer driver",
        )
    return ok(name, f"{build} computes on {cards}")


def code() -> Check:
    origin = provenance.snapshot("train").facts
    if "commit" not in origin:
        return warning(
            "code",
            "no commit is known: results can't say which code made them",
            "run from a git checkout, or set REPRO_COMMIT where the code is installed without one",
        )
    commit = str(origin["commit"])[:12]
    if origin["dirty"]:
        return warning("code", f"commit {commit}, with uncommitted changes", "commit them before runs that count")
    return ok("code", f"commit {commit}, clean")


def python() -> Check:
    installed: dict[str, str] = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    missing = [package for package in PACKAGES if package not in installed]
    found = ", ".join([platform.python_version(), *(f"{package} {is_at}" for package, is_at in installed.items())])
    if missing:
        return error("Python", f"{found}; not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return ok("Python", found)
