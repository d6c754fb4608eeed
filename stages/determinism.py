"""Everything that the config says about randomness, threads and precision, in one place (R6).

Defaults are constants, never what the machine happens to have. What is not promised: equal bytes across
processor or card models, or across versions of torch; the run document names both.
"""

import os
import random
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stages.errors import StageError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from stages.params import Params

# Read by CUDA's BLAS when it is first used: the one value with which its results do not vary (PyTorch's
# notes on reproducibility).
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"


def apply(params: "Params") -> dict[str, Any]:
    """Seed every generator and fix threads and precision for this process; returns what the document keeps."""
    import numpy as np
    import torch

    seed, threads = params.get("seed", 0), params.get("threads", 1)
    if threads < 1:
        raise StageError(f'"threads": expected 1 or more, got: {threads}')
    torch.set_num_threads(threads)
    _thread_pools(len(sys.modules)).limit(limits=threads)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(params.get("deterministic", True))
    torch.backends.cudnn.benchmark = params.get("autotune", False)
    tf32 = params.get("tf32", False)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_default_dtype(torch.float32)
    return {"threads": threads, "deterministic": torch.are_deterministic_algorithms_enabled()}


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> "ThreadpoolController":
    """The BLAS and OpenMP libraries of this process, looked for anew once more modules have been imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def device(params: "Params") -> str:
    """Where a stage computes: a function of the config alone."""
    return "cuda" if params.get("gpus", 0) > 0 else "cpu"
