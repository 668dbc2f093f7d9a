"""The CUDA kernels' C interface, for callers without TensorRT. Needs no CUDA in Python: pointers are plain integers.

The library comes from `edgecolor build-plugins`; its sources, and what each field means, are in cpp_plugins/.
"""

import ctypes
from os import PathLike

from edgecolor.errors import MissingDependencyError

FLOAT32, FLOAT16 = 0, 1
_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_float


class DecodeJob(ctypes.Structure):
    """EdgecolorDecode in cpp_plugins/color_token_decode/kernel.h."""

    _fields_ = [
        *((name, _POINTER) for name in ("logits", "prev_probs", "motion", "keep", "centers", "temperature")),
        *((name, _POINTER) for name in ("ab", "probs")),
        *((name, _INT) for name in ("batch", "height", "width", "tokens", "type", "mode")),
    ]


# function -> the structure it takes
FUNCTIONS = {"edgecolorColorTokenDecode": DecodeJob}


def load_kernels(path: str | PathLike) -> ctypes.CDLL:
    """Open the kernels' library and declare its functions: each takes a job and a stream, and returns a status.

    returns  the library; a status of 0 is success, others are values of cudaError_t
    raises   MissingDependencyError if it does not load, or is not ours
    """
    try:
        library = ctypes.CDLL(str(path))
        for name, job in FUNCTIONS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.POINTER(job), ctypes.c_void_p], ctypes.c_int
    except (OSError, AttributeError) as error:
        raise MissingDependencyError(
            f"{path} is not a library of edgecolor's kernels ({error}): build one with `edgecolor build-plugins`"
        ) from error
    return library
