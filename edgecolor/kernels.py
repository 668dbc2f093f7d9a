"""The CUDA kernels' C interface, for callers without TensorRT. Needs no CUDA in Python: pointers are plain integers.

The library comes from `edgecolor build-plugins`; its sources, and what each field means, are in cpp_plugins/.
"""

import ctypes
from os import PathLike

from edgecolor.color.chroma_table import codes_per_level
from edgecolor.color.yuv import luma_range
from edgecolor.errors import MissingDependencyError
from edgecolor.frames import ChromaFormat, LumaFormat, Siting

FLOAT32, FLOAT16 = 0, 1
SITINGS = {Siting.LEFT: 0, Siting.CENTER: 1, Siting.TOPLEFT: 2}
_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float


def _fields(kind, names: str) -> list:
    return [(name, kind) for name in names.split()]


class DecodeJob(ctypes.Structure):
    """EdgecolorDecode in cpp_plugins/color_token_decode/kernel.h."""

    _fields_ = _fields(_POINTER, "logits prev_probs motion keep centers temperature ab probs") + _fields(
        _INT, "batch height width tokens type mode"
    )


class LumaPlane(ctypes.Structure):
    """EdgecolorLuma in cpp_plugins/frame_planes/kernel.h."""

    _fields_ = [("plane", _POINTER), ("pitch", _LONG), *_fields(_INT, "width height bit_depth rotation")]


class LightnessJob(ctypes.Structure):
    """EdgecolorLightness in cpp_plugins/frame_planes/kernel.h."""

    _fields_ = [
        ("luma", LumaPlane),
        *_fields(_POINTER, "lightness_of_code lightness"),
        *_fields(_INT, "out_height out_width"),
    ]


class ChromaJob(ctypes.Structure):
    """EdgecolorChroma in cpp_plugins/frame_planes/kernel.h."""

    _fields_ = [
        ("luma", LumaPlane),
        *_fields(_POINTER, "ab table workspace cb cr"),
        ("chroma_pitch", _LONG),
        *_fields(_INT, "grid_height grid_width chroma_width chroma_height log2_x log2_y siting"),
        *_fields(_FLOAT, "black_to_white codes_per_level edge_contrast saturation"),
    ]


# function -> the structure it takes
FUNCTIONS = {
    "edgecolorColorTokenDecode": DecodeJob,
    "edgecolorLumaToLightness": LightnessJob,
    "edgecolorAbToChroma": ChromaJob,
}


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


def luma_plane(luma_format: LumaFormat, plane: int, pitch: int) -> LumaPlane:
    """A luma plane at address `plane`, its rows `pitch` bytes apart."""
    size = (luma_format.width, luma_format.height, luma_format.bit_depth)
    return LumaPlane(plane, pitch, *size, luma_format.rotation)


def chroma_job(
    luma_format: LumaFormat, chroma_format: ChromaFormat, h: int, w: int, saturation: float = 1.0
) -> ChromaJob:
    """A job with everything filled in that stays the same for a video; what is missing are the pointers and pitches.

    h, w  of the token grid, upright
    """
    from edgecolor.stages.upsample_ab import EDGE_CONTRAST  # here, so that the other kernels need no OpenCV

    black, white = luma_range(luma_format.bit_depth, luma_format.full_range)
    job = ChromaJob(luma=luma_plane(luma_format, 0, 0), grid_height=h, grid_width=w)
    job.chroma_width, job.chroma_height = chroma_format.width, chroma_format.height
    job.log2_x, job.log2_y = chroma_format.log2_x, chroma_format.log2_y
    job.siting = SITINGS[chroma_format.siting]
    job.black_to_white = white - black
    job.codes_per_level = codes_per_level(luma_format.bit_depth, luma_format.full_range)
    job.edge_contrast, job.saturation = EDGE_CONTRAST, saturation
    return job
