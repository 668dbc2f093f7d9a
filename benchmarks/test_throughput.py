"""The same parts as `edgecolor bench`, under pytest-benchmark, to compare one commit with another:

    pytest benchmarks/test_throughput.py --benchmark-json=after.json
    pytest-benchmark compare before.json after.json

Not among the tests that `make test` runs. A backend that is not there is skipped with the reason.
"""

from contextlib import closing

import pytest

pytest.importorskip("pytest_benchmark")

from edgecolor import open_colorizer
from edgecolor.backends import BACKENDS, open_backend
from edgecolor.bench import SIZES, machine, network_inputs, synthetic_frames
from edgecolor.errors import EdgeColorError
from edgecolor.frames import ChromaFormat, LumaFormat, Matrix, Siting
from edgecolor.stages.frame_to_lightness import working_size

pytestmark = pytest.mark.benchmark(warmup=True, warmup_iterations=2, min_rounds=5, max_time=3)


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    try:
        opened = open_backend(None, request.param)
    except EdgeColorError as error:
        pytest.skip(str(error))
    with closing(opened):
        yield opened


@pytest.fixture(params=[1, 4], ids=lambda count: f"{count}-streams")
def inputs(request, backend):
    size = working_size(1920, 1080, backend.manifest.working_size, backend.manifest.multiple)
    backend.start(request.param, *size)
    return network_inputs(backend, request.param, *size)


@pytest.fixture(autouse=True)
def told(benchmark):
    benchmark.extra_info.update(machine())


def test_network(benchmark, backend, inputs):
    benchmark(backend.logits, inputs["lightness"])


def test_op(benchmark, backend, inputs):
    benchmark(backend.decode, inputs["logits"], inputs["keep"], inputs["motion"])


def test_step(benchmark, backend, inputs):
    benchmark(backend.step, inputs["lightness"], inputs["keep"], inputs["motion"])


@pytest.mark.parametrize("size", ["480p", "720p", "1080p", "2160p"])
def test_one_frame_of_the_pipeline(benchmark, backend, size):
    """Y' to Cb and Cr, the network at every frame; one thread after the other."""
    width, height = SIZES[size]
    colorizer = open_colorizer(backend=backend.name)
    colorizer.begin(
        LumaFormat(width, height, 8, Matrix.BT709, False), ChromaFormat(width // 2, height // 2, 1, 1, Siting.LEFT)
    )
    (frame, *_) = synthetic_frames(width, height, 0)
    with closing(colorizer.net):
        benchmark(lambda: colorizer.chroma(frame, colorizer.ab(frame)))
