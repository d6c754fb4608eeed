"""What every run imports and looks up when it is first needed: once here, instead of in each process that is forked.

It takes seconds, most of them for torch. The fork server does it, and whoever else runs several configs one by one.
"""

import contextlib
import importlib
from functools import cache

LIBRARIES = (
    "hashlib", "numpy", "torch", "torch.nn.functional", "safetensors.torch", "threadpoolctl",
    "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "fsspec", "fsspec.implementations.local",
    "matplotlib",  # the name: no file of a project's is to take its place in one run and not in the next
)  # fmt: skip
# As slow as all of those, and only some stages need them.
COMPILER = "torch._inductor.config"
PLOTS = ("matplotlib.figure", "matplotlib.backends.backend_agg")
OURS = (  # what a child calls: each would be imported anew in every one
    "repro.stages.running.own_process",
    "repro.stages.running.checkpoints",
    "repro.stages.running.manifest",
    "repro.stages.run",
)


@cache
def warm_up() -> None:
    """Import and look up what a run needs; a process that is forked from this one has it at once."""
    _import(*LIBRARIES, *OURS)
    from repro.stages.source import compiling, provenance, registry

    # What these import and look up when they are first called: here once, instead of in every child.
    for stage in registry.BUILT_IN:
        with contextlib.suppress(Exception):  # half-edited code is a matter of the run that wants it
            registry.load(stage)
    compiling.compile_own_code()
    provenance.versions()
    _be_ready()


@cache
def warm_up_fully() -> None:
    """The same, and what takes as long again and is worth it where several runs follow."""
    warm_up()
    load_compiler()
    load_plots()
    _be_ready()


def load_compiler() -> None:
    """Torch's, which its optimizers import when they are first made."""
    _import(COMPILER)


def load_plots() -> None:
    """matplotlib, which at its first import on a machine looks for fonts everywhere, and keeps what it has found."""
    _import(*PLOTS)


def _import(*names: str) -> None:
    for name in names:
        importlib.import_module(name)


def _be_ready() -> None:
    """Look up, once instead of in every child, what hangs on the libraries that are loaded."""
    from repro.stages.params import Params
    from repro.stages.running import determinism
    from repro.stages.source import provenance

    provenance.packages()
    for _ in range(2):  # the second time looks at the libraries that the first has loaded
        determinism.apply(Params({}))
