"""The parts of gpu_check.py, one function each: they return what they found, and raise where it is wrong.

Those that take a device also run on the CPU, with the kernels built by tests/cuda_on_cpu.py.
Run as a script with a kernels' library it does small jobs of every kind, for compute-sanitizer to watch.
"""

import ctypes
import statistics
import sys
from pathlib import Path

import torch
from gpu_check_reference import MOTIONS, TOLERANCE, Decode, make_inputs, op_chain

LARGE, DEFAULT = (8, 135, 240), (1, 64, 112)  # cells of the grid
WANTED_OF_COPY, WANTED_OVER_EAGER = 0.6, 5.0
CACHE_BYTES = 256 * 2**20  # more than the second-level cache of any card: one round of inputs leaves nothing in it


def compare_with_float64(run, device: str, shapes=((2, 9, 17), (1, 31, 45))) -> list[dict]:
    """Every kind of input, fresh each time; raises where a difference is above the design's tolerance."""
    found = []
    for dtype in (torch.float16, torch.float32):
        for tokens in (313, 326, 1, 33, 1024):
            for mode, temperature in ((0, 0.38), (0, 0.05), (0, 1.0), (1, 0.38)):
                for shape in shapes if tokens == 313 else shapes[:1]:
                    for kind in MOTIONS if tokens == 313 else ("mixed",):
                        for scale in (4.0, 1e4) if kind == "mixed" else (4.0,):
                            inputs = make_inputs(shape, tokens, dtype, kind, device, scale=scale)
                            decode = Decode(run, inputs, temperature, mode)
                            decode()
                            probs, ab = decode.errors()
                            case = f"{dtype} {shape} Q {tokens} mode {mode} T {temperature} {kind} x{scale:g}"
                            within = probs <= TOLERANCE[dtype][0] and ab <= TOLERANCE[dtype][1]
                            assert within, f"{case}: probs off by {probs:.2e}, ab by {ab:.2e}"
                            found.append((str(dtype), mode, probs, ab))
    groups = sorted({row[:2] for row in found})
    return [
        {
            "type": dtype,
            "mode": mode,
            "cases": sum(row[:2] == (dtype, mode) for row in found),
            "probs": max(row[2] for row in found if row[:2] == (dtype, mode)),
            "ab": max(row[3] for row in found if row[:2] == (dtype, mode)),
        }
        for dtype, mode in groups
    ]


def seconds_of(calls: list, rounds: int = 15) -> float:
    """Median time of one call; `calls` do the same on different memory, so that no cache helps."""
    for call in calls[:3]:
        call()
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for call in calls:
            call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3 / len(calls))
    return statistics.median(times)


def copies_of(inputs: list, run, bytes_each: int, **options) -> list[Decode]:
    count = max(2, -(-CACHE_BYTES // bytes_each))
    return [Decode(run, [array.clone() for array in inputs], **options) for _ in range(count)]


def as_graph(calls: list):
    """The calls captured once, so that short kernels are not timed by how fast Python starts them."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def measure_bandwidth(run) -> list[dict]:
    """Bytes that must move, per second, beside a device copy of as many bytes, measured in turn."""
    found = []
    for shape, dtype, kind, keep in (
        (LARGE, torch.float16, "still", 0.7),
        (LARGE, torch.float16, "fractions", 0.7),
        (LARGE, torch.float16, "whole cells", 0.7),
        (LARGE, torch.float16, "mixed", None),
        (LARGE, torch.float16, "still", 0.0),
        (LARGE, torch.float32, "still", 0.7),
        (DEFAULT, torch.float16, "still", 0.7),
        (DEFAULT, torch.float16, "fractions", 0.7),
        (DEFAULT, torch.float32, "still", 0.7),
    ):
        inputs = make_inputs(shape, 313, dtype, kind, "cuda", keep)
        calls = copies_of(inputs, run, Decode(run, inputs).bytes)
        size = calls[0].bytes
        count = len(calls)
        sources = [torch.randint(255, (size // 2,), dtype=torch.uint8, device="cuda") for _ in range(count)]
        targets = [torch.empty_like(source) for source in sources]
        copies = [lambda a=a, b=b: b.copy_(a) for a, b in zip(sources, targets, strict=True)]
        graph, copy_graph = as_graph(calls), as_graph(copies)
        seconds, copy_seconds = [], []
        for _ in range(3):  # in turn, so that a change of clocks meets both
            seconds.append(seconds_of([graph.replay]) / count)
            copy_seconds.append(seconds_of([copy_graph.replay]) / count)
        mine, copy = statistics.median(seconds), statistics.median(copy_seconds)
        found.append(
            {
                "shape": [*shape, 313],
                "type": str(dtype),
                "motion": kind,
                "keep": keep,
                "microseconds": round(mine * 1e6, 2),
                "spread": round((max(seconds) - min(seconds)) / mine, 3),
                "gigabytes_per_second": round(size / mine / 1e9, 1),
                "copy_gigabytes_per_second": round(size // 2 * 2 / copy / 1e9, 1),
                "of_copy": round(size / mine / (size // 2 * 2 / copy), 3),
            }
        )
        del calls, graph, copy_graph, sources, targets, copies
        torch.cuda.empty_cache()
    for row in found:
        print(f"  {row}", flush=True)
    large = found[0]
    assert large["of_copy"] >= WANTED_OF_COPY, (
        f"{large['of_copy']:.0%} of the copy, {WANTED_OF_COPY:.0%} are wanted: {found}"
    )
    return found


def measure_op_chain(run) -> list[dict]:
    """The kernel beside the same op written out in PyTorch, eager and compiled."""
    found = []
    compiled = torch.compile(op_chain, dynamic=False)
    for shape in (LARGE, DEFAULT):
        for kind in ("still", "fractions"):
            inputs = make_inputs(shape, 313, torch.float16, kind, "cuda", 0.7)
            calls = copies_of(inputs, run, Decode(run, inputs).bytes)
            kernel = seconds_of([as_graph(calls).replay]) / len(calls)
            few = calls[: 2 if shape == LARGE else len(calls)]
            eager = seconds_of([lambda c=c: op_chain(*c.inputs, c.temperature) for c in few], rounds=7)
            fused = seconds_of([lambda c=c: compiled(*c.inputs, c.temperature) for c in few], rounds=7)
            found.append(
                {
                    "shape": [*shape, 313],
                    "motion": kind,
                    "kernel_ms": kernel * 1e3,
                    "eager_ms": eager * 1e3,
                    "compiled_ms": fused * 1e3,
                    "over_eager": round(eager / kernel, 2),
                    "over_compiled": round(fused / kernel, 2),
                }
            )
            print(f"  {found[-1]}", flush=True)
    slowest = min(row["over_eager"] for row in found if row["shape"][0] == LARGE[0])
    assert slowest >= WANTED_OVER_EAGER, f"{slowest} x eager PyTorch, {WANTED_OVER_EAGER} are wanted: {found}"
    return found


def replay_graph(run) -> dict:
    """Capture one call in a CUDA graph, change what its inputs hold, replay, and compare."""
    decode = Decode(run, make_inputs(DEFAULT, 313, torch.float16, "mixed", "cuda"))
    graph = as_graph([decode])
    for old, new in zip(decode.inputs, make_inputs(DEFAULT, 313, torch.float16, "mixed", "cuda"), strict=True):
        old.copy_(new)
    decode.temperature.fill_(0.2)
    decode.ab.fill_(float("nan"))
    decode.probs.fill_(float("nan"))
    graph.replay()
    probs, ab = decode.errors()
    assert probs <= 1e-3 and ab <= 1e-2, f"after replay probs are off by {probs:.2e}, ab by {ab:.2e}"
    return {"probs": probs, "ab": ab}


def check_plugin(plugin: Path, host: Path, device: str) -> dict:
    """The plugin's whole life in the mock host, down to enqueue."""
    library = ctypes.CDLL(str(host))
    library.mockHostOpen.restype = ctypes.c_char_p
    problem = library.mockHostOpen(str(plugin).encode())
    assert problem == b"", problem
    library.mockHostDecode.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    worst = {}
    for dtype in (torch.float16, torch.float32):
        for mode in (0, 1):
            decode = Decode(library.mockHostDecode, make_inputs((2, 9, 17), 313, dtype, "mixed", device), 0.38, mode)
            decode()
            probs, ab = decode.errors()
            assert probs <= TOLERANCE[dtype][0] and ab <= TOLERANCE[dtype][1], (dtype, mode, probs, ab)
            worst[f"{dtype} mode {mode}"] = [probs, ab]
    return worst


def check_frame_planes(kernels, device: str, size: tuple[int, int] = (1080, 1920)) -> list[dict]:
    """Y' -> lightness and ab -> Cb, Cr, beside the NumPy stages, at full size; times where there is a GPU."""
    import numpy as np

    from edgecolor.color.chroma_table import chroma_table
    from edgecolor.color.yuv import lightness_of_luma
    from edgecolor.frames import ChromaFormat, LumaFormat, Matrix, Siting
    from edgecolor.kernels import LightnessJob, chroma_job, luma_plane
    from edgecolor.stages.ab_to_frame import AbToChroma
    from edgecolor.stages.frame_to_lightness import FrameToLightness, working_size
    from edgecolor.stages.upsample_ab import UpsampleAb

    height, width = size
    h0, w0 = working_size(width, height)
    found = []
    for bits in (8, 10):
        luma_format = LumaFormat(width, height, bits, Matrix.BT709, False)
        chroma_format = ChromaFormat(width // 2, height // 2, 1, 1, Siting.LEFT)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        shade = 0.5 + 0.3 * np.sin(rows / 37) * np.cos(columns / 53)
        shade += 0.15 * (np.hypot(rows - height / 3, columns - width / 4) < height / 5)
        shade += np.random.default_rng().normal(0, 0.01, shade.shape)
        plane = ((16 + 219 * shade.clip(0, 1)) * 2 ** (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)
        grid = (2, h0 // 4, w0 // 4)
        ab = (30 * np.sin(np.indices(grid[1:]) / 9) + np.random.default_rng().normal(0, 2, grid)).astype(np.float32)

        def to_device(array):
            return torch.from_numpy(array.copy()).to(device)

        luma, shades, colors = to_device(plane), to_device(lightness_of_luma(bits, False)), to_device(ab)
        table = to_device(chroma_table(Matrix.BT709, bits, False))
        lightness = torch.full((h0, w0), float("nan"), device=device)
        chroma = [torch.zeros((height // 2, width // 2), dtype=luma.dtype, device=device) for _ in range(2)]
        workspace = torch.full((5 * grid[1] * grid[2],), float("nan"), device=device)
        described = luma_plane(luma_format, luma.data_ptr(), luma.stride(0) * luma.element_size())
        up = LightnessJob(described, shades.data_ptr(), lightness.data_ptr(), h0, w0)
        down = chroma_job(luma_format, chroma_format, *grid[1:])
        down.luma, down.chroma_pitch = described, chroma[0].stride(0) * luma.element_size()
        down.ab, down.table, down.workspace = colors.data_ptr(), table.data_ptr(), workspace.data_ptr()
        down.cb, down.cr = (plane_.data_ptr() for plane_ in chroma)

        def call(function, job):
            stream = torch.cuda.current_stream().cuda_stream if device == "cuda" else None
            status = function(ctypes.byref(job), stream)
            assert status == 0, f"status {status}"

        calls = {
            "lightness": lambda up=up: call(kernels.edgecolorLumaToLightness, up),
            "chroma": lambda down=down: call(kernels.edgecolorAbToChroma, down),
        }
        for run in calls.values():
            run()
        off = np.abs(lightness.cpu().numpy() - FrameToLightness(luma_format, h0, w0)(plane)[0, 0])
        planes, sited = UpsampleAb(luma_format, chroma_format, *grid[1:])(ab, plane)
        expected = AbToChroma(luma_format)(sited, planes)
        pairs = zip(chroma, expected, strict=True)
        codes = np.stack([np.abs(here.cpu().numpy().astype(np.float64) - there) for here, there in pairs]) / 2 ** (
            bits - 8
        )
        row = {"bits": bits, "lightness_max": float(off.max()), "lightness_mean": float(off.mean())}
        row |= {"chroma_99": float(np.quantile(codes, 0.99)), "chroma_mean": float(codes.mean())}
        assert row["lightness_max"] < 1.5 and row["lightness_mean"] < 0.3 and row["chroma_99"] <= 2, row
        assert row["chroma_mean"] < 0.5, row
        if device == "cuda":
            row |= {f"{name}_microseconds": seconds_of([as_graph([run]).replay]) * 1e6 for name, run in calls.items()}
        found.append(row)
    return found


def measure_model() -> list[dict]:
    """The default network in PyTorch, one frame and eight at a time: fp32, fp16, fp16 compiled."""
    from edgecolor.models import build_model

    found = []
    for batch in (1, 8):
        lightness = torch.rand(batch, 1, 256, 448, device="cuda") * 100
        for dtype, is_compiled in ((torch.float32, False), (torch.float16, False), (torch.float16, True)):
            model = build_model("edge").eval().cuda().to(dtype)
            run = torch.compile(model, mode="reduce-overhead") if is_compiled else model
            frames = lightness.to(dtype)
            with torch.inference_mode():
                for _ in range(5):
                    run(frames)
                seconds = seconds_of([lambda run=run, frames=frames: run(frames)] * 5)
            row = {"batch": batch, "type": str(dtype), "compiled": is_compiled, "milliseconds": round(seconds * 1e3, 3)}
            found.append(row | {"frames_per_second": round(batch / seconds, 1)})
            print(f"  {found[-1]}", flush=True)
    return found


def main(path: str) -> None:
    from edgecolor.kernels import load_kernels

    kernels = load_kernels(path)
    compare_with_float64(kernels.edgecolorColorTokenDecode, "cuda", shapes=((1, 3, 7),))
    check_frame_planes(kernels, "cuda", size=(72, 128))
    torch.cuda.synchronize()
    print("sanitized jobs done")


if __name__ == "__main__":
    main(sys.argv[1])
