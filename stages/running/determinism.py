"""Everything that the config says about randomness, threads and precision, in one place (R6).

Defaults are constants, never what the machine happens to have. What is not promised: equal bytes across
processor or card models, or across versions of torch; the run document names both.
"""

import ctypes
import os
import random
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from repro.stages.errors import StageError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from repro.stages.params import Params

# Read by CUDA's BLAS when it is first used: the one value with which its results do not vary (PyTorch's
# notes on reproducibility).
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
_libc = ctypes.CDLL(None)


def apply(params: "Params") -> dict[str, Any]:
    """Seed every generator and fix threads and precision for this process; returns what the document keeps."""
    import numpy as np
    import torch

    seed, threads = params.get("seed", 0), params.get("threads", 1)
    if threads < 1:
        raise StageError(f'"threads": expected 1 or more, got: {threads}')
    torch.set_num_threads(threads)
    _thread_pools(_libraries()).limit(limits=threads)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        torch.manual_seed(seed)  # of every device; where there are none this would only format three tracebacks
    _be_deterministic(params.get("deterministic", True))
    torch.backends.cudnn.benchmark = params.get("autotune", False)
    tf32 = params.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_default_dtype(torch.float32)
    return {"threads": threads, "deterministic": torch.are_deterministic_algorithms_enabled()}


def _be_deterministic(wanted: bool) -> None:
    """`torch.use_deterministic_algorithms(wanted)`, which would import torch's compiler: seconds, mostly in vain.

    The compiler's own switch is set where it is loaded; where it is not it reads it from the environment once it is.
    """
    import torch

    torch.set_deterministic_debug_mode("error" if wanted else "default")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1" if wanted else "0"
    if compiler := sys.modules.get("torch._inductor.config"):
        compiler.deterministic = wanted  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _thread_pools(libraries: int) -> "ThreadpoolController":
    """The BLAS and OpenMP libraries of this process, looked for anew once more libraries have been loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _libraries() -> int:
    """How many shared libraries this process has loaded so far; where that is not told, how many modules."""
    if not hasattr(_libc, "dl_iterate_phdr"):
        return len(sys.modules)
    count = ctypes.c_ulonglong()
    _libc.dl_iterate_phdr(_read_count, ctypes.byref(count))
    return count.value


class _Library(ctypes.Structure):
    """`struct dl_phdr_info` of dl_iterate_phdr(3), as far as it is needed."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("header_count", ctypes.c_uint16),
        ("loaded", ctypes.c_ulonglong),
    )


def _copy_count(library: Any, size: int, count: Any) -> int:
    count[0] = library[0].loaded
    return 1  # the first library knows it: no more are wanted


_read_count = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.POINTER(ctypes.c_ulonglong)
)(_copy_count)


def device(params: "Params") -> str:
    """Where a stage computes: a function of the config alone."""
    return "cuda" if params.get("gpus", 0) > 0 else "cpu"
