"""The plugin in a mock of TensorRT, with the kernel run on the CPU: types, shapes, formats, serialization, enqueue."""

import ctypes
import subprocess

import numpy as np
import pytest
from cuda_on_cpu import SOURCES, build_plugin_for_cpu, find_compiler, find_tensorrt_headers, guarded

from edgecolor.color.tokens import palette
from edgecolor.kernels import DecodeJob
from edgecolor.stages.logits_to_ab import color_token_decode

FLOAT, HALF = 0, 1  # DataType
MODE = np.int32([1])


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    plugin, library = build_plugin_for_cpu(), folder / "mock_host.so"
    subprocess.run(
        [find_compiler(), "-std=c++17", "-O1", "-w", "-fPIC", "-shared", SOURCES / "testing" / "mock_host.cpp", "-ldl"]
        + ["-I", SOURCES / "testing" / "cuda_on_cpu", "-isystem", find_tensorrt_headers(), "-o", library],
        check=True,
    )
    host = ctypes.CDLL(str(library))
    host.mockHostOpen.restype = ctypes.c_char_p
    host.mockHostShapeStatus.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int]
    host.mockHostCreates.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    host.mockHostDecode.argtypes = [ctypes.POINTER(DecodeJob), ctypes.c_void_p]
    assert host.mockHostOpen(str(plugin).encode()) == b""
    return host


def test_plugin_creator_has_the_name_version_namespace_and_field_of_the_design(host):
    assert host.mockHostNames() == 0


@pytest.mark.parametrize(
    ("field", "at_runtime", "is_made"),
    (
        ((b"mode", "int32", np.int32([1]), 1), False, True),
        ((b"mode", "int64", np.int64([1]), 1), False, True),
        ((b"mode", "int32", np.int32([0]), 1), True, True),
        ((None, "int32", np.int32([0]), 0), False, True),
        ((None, "int32", np.int32([0]), 0), True, False),
        ((b"mode", "int32", np.int32([2]), 1), False, False),
        ((b"mode", "int64", np.int64([2**32]), 1), False, False),
        ((b"mode", "int32", np.int32([0, 1]), 2), False, False),
        ((b"mode", "int32", None, 1), False, False),
        ((b"mode", "float", np.float32([1]), 1), False, False),
        ((b"temperature", "float", np.float32([1]), 1), False, False),
    ),
)
def test_plugin_creator_takes_one_integer_mode_and_refuses_all_else(host, field, at_runtime, is_made):
    name, kind, data, length = field
    kind = host.mockHostFieldType(("int32", "int64", "float").index(kind))
    assert host.mockHostCreates(name, kind, None if data is None else data.ctypes.data, length, at_runtime) == is_made


@pytest.mark.parametrize("state", (FLOAT, HALF))
def test_plugin_outputs_are_float_ab_and_probs_like_logits(host, state):
    types, extents, ranks = (ctypes.c_int * 2)(), (ctypes.c_int64 * 8)(), (ctypes.c_int * 2)()
    assert host.mockHostOutputs(state, types, extents, ranks) == 0
    assert list(types) == [FLOAT, state] and list(ranks) == [4, 4]
    assert list(extents) == [11, 2, 22, 33, 11, 22, 33, 44]


def test_plugin_takes_linear_tensors_with_the_state_like_logits_and_nothing_else(host):
    accepted = ctypes.create_string_buffer(256)
    assert host.mockHostFormats(accepted, 256) == 2
    # Even digits are linear: 0 float, 2 half.
    assert accepted.value.decode().split() == ["00000000", "22000002"]


@pytest.mark.parametrize("while_building", (False, True))
def test_plugin_refuses_shapes_that_do_not_belong_together(host, while_building):
    def status(tensor, axis, extent):
        return host.mockHostShapeStatus(tensor, axis, extent, while_building)

    assert status(0, 0, 2) == 0
    for tensor, axis in ((1, 0), (1, 3), (2, 1), (2, 3), (3, 2), (4, 0), (4, 1), (5, 0)):
        assert status(tensor, axis, 7) != 0, (tensor, axis)
    for tensor in range(6):
        assert status(tensor, -1, 6) != 0, tensor
    assert status(0, 3, 1025) != 0 and status(0, 3, 0) != 0


def test_plugin_takes_extents_that_are_not_known_while_building(host):
    for tensor, axis in ((0, 0), (1, 1), (2, 2), (3, 0)):
        assert host.mockHostShapeStatus(tensor, axis, -1, True) == 0


@pytest.mark.parametrize("mode", (0, 1))
@pytest.mark.parametrize("dtype", (np.float32, np.float16))
def test_plugin_made_from_its_own_serialization_equals_the_numpy_stage(host, mode, dtype):
    rng = np.random.default_rng()
    logits = guarded((rng.standard_normal((2, 3, 5, 313)) * 3).astype(dtype))
    prev_probs = guarded(rng.dirichlet(np.full(313, 0.1), (2, 3, 5)).astype(dtype))
    motion = rng.standard_normal((2, 3, 5, 2)).astype(np.float32)
    keep = rng.random((2, 3, 5)).astype(np.float32)
    centers, temperature = palette("ab313").centers, np.float32([0.38])
    ab = guarded(np.full((2, 2, 3, 5), np.nan, dtype=np.float32))
    probs = guarded(np.full(logits.shape, np.nan, dtype=dtype))
    arrays = (logits, prev_probs, motion, keep, centers, temperature, ab, probs)
    job = DecodeJob(*(array.ctypes.data for array in arrays), 2, 3, 5, 313, int(dtype == np.float16), mode)
    assert host.mockHostDecode(ctypes.byref(job), None) == 0
    expected_ab, expected_probs = color_token_decode(logits, prev_probs, motion, keep, centers, temperature, mode)
    assert np.abs(probs - expected_probs.astype(np.float64)).max() < 1e-3
    assert np.abs(ab - expected_ab).max() < 1e-2


def test_plugin_passes_on_that_the_kernel_refused(host):
    logits = guarded(np.zeros((1, 1, 1, 16), dtype=np.float32))
    other = np.zeros(64, dtype=np.float32)
    here = logits.ctypes.data
    job = DecodeJob(here, here, *(other.ctypes.data,) * 5, here, 1, 1, 1, 16, 0, 0)
    assert host.mockHostDecode(ctypes.byref(job), None) == 1
