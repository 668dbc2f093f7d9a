"""How much faster ColTran's sampler is for what it keeps, and how many pictures it colors per minute.

    python benchmarks/coltran_sampling.py [--width 512] [--batch 1] [--threads 2] [--rows 64]

Three ways to the same 64 x 64 codes, at the published depth: cached; recomputed as the published code does it (the
outer decoder on the whole picture for every row, the inner one on the whole row for every pixel); the whole decoder
for every pixel. The last two are timed on 8 pixels and extrapolated. Weights are random: the work is the same.
Times are both wall time and processor time; on a busy machine only the second one tells.
"""

import argparse
import json
import os
import time
from collections.abc import Callable

import torch

from edgecolor.models.coltran_codes import ColTranConfig
from edgecolor.models.coltran_colorizer import Colorizer
from edgecolor.models.coltran_sampling import CachedSteps, RecomputedSteps

TIMED = 8  # pixels of the slow ways


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("width", 512), ("batch", 1), ("threads", 2), ("rows", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net = Colorizer(ColTranConfig(width=options.width, hidden=options.width)).eval()
    side = net.side
    gray = torch.randint(256, (options.batch, side, side))
    codes = torch.randint(512, (options.batch, side, side))
    kept: dict = {}

    def encode() -> None:
        kept["z"] = net.encode(gray)

    def cached() -> None:
        steps = CachedSteps(net, kept["z"])
        for row in range(options.rows):
            steps.start_row(row, codes)
            for column in range(side):
                steps.logits(row, column, codes)

    def pixels() -> None:
        for column in range(TIMED):
            recomputed.logits(side // 2, column, codes)

    def everything() -> None:
        for _ in range(TIMED):
            net.decode(codes, kept["z"])

    times = {"encoding": seconds(encode)}
    share = side / options.rows
    times["cached"] = tuple(share * t for t in seconds(cached))
    recomputed = RecomputedSteps(net, kept["z"])
    row = seconds(lambda: recomputed.start_row(side // 2, codes))
    pixel = seconds(pixels)
    times["recomputed"] = tuple(side * r + side**2 / TIMED * p for r, p in zip(row, pixel, strict=True))
    times["whole_decoder"] = tuple(side**2 / TIMED * t for t in seconds(everything))
    report = {
        **vars(options),
        "load_average": round(os.getloadavg()[0], 1),
        "parameters": sum(p.numel() for p in net.parameters()),
        "wall_seconds": {name: round(wall, 2) for name, (wall, _) in times.items()},
        "processor_seconds": {name: round(processor, 2) for name, (_, processor) in times.items()},
    }
    for way in ("recomputed", "whole_decoder"):
        report[f"times_faster_than_{way}"] = round(times[way][1] / times["cached"][1], 1)
    whole = [times["encoding"][i] + times["cached"][i] for i in (0, 1)]
    report["pictures_per_minute"] = round(60 * options.batch / whole[0], 2)
    report["pictures_per_minute_of_one_core"] = round(60 * options.batch / whole[1], 2)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
