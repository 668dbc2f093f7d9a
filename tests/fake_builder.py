"""A TensorRT builder whose engine is the ONNX file itself, as tests/fake_gpu.py runs it.

Run as a script, it builds one engine and writes a line to a log: `python fake_builder.py MODEL FOLDER LOG`.
"""

import sys
import time
from pathlib import Path

from edgecolor.export.tensorrt_builder import Built, Job, Target

GPU = {"name": "Fake GPU", "compute_capability": "9.0", "multiprocessors": 132, "clock_mhz": 1980}


class FakeBuilder:
    def __init__(self, log: Path | None = None, seconds: float = 0.0, **target):
        self.target = Target(**{"flavor": "tensorrt", "version": "10.16.1.11", "gpu": GPU} | target)
        self.jobs: list[Job] = []
        self.log, self.seconds = log, seconds

    def build(self, job: Job) -> Built:
        self.jobs.append(job)
        if self.log:
            with self.log.open("a") as file:
                file.write("built\n")
        time.sleep(self.seconds)
        return Built(b"plan:" + job.onnx, 0.1, job.timing_cache + b"t", {"CONVOLUTION": 64}, ["conv1 + relu"])


if __name__ == "__main__":
    from edgecolor.export.onnx_to_engine import EngineOptions, build_engine

    model, folder, log = map(Path, sys.argv[1:])
    report = build_engine(model, EngineOptions("fp32"), builder=FakeBuilder(log, seconds=1.0), folder=folder)
    print(report.cache)
