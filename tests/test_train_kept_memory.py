"""Memory that training keeps between steps. pytest tests/test_train_kept_memory.py"""

import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from edgecolor.train.kept_memory import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step = [bytearray(b"x") * (24 << 20) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def page_faults(*arguments: str) -> int:
    """Of a second step that needs 96 MiB, after the first freed as much."""
    run = subprocess.run([sys.executable, "-c", STEPS, *arguments], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is what gives memory back")
def test_a_second_step_does_not_ask_the_system_for_what_the_first_freed():
    assert page_faults("keep") < page_faults() / 20


def test_other_systems_are_left_as_they_are(monkeypatch):
    from edgecolor.train.kept_memory import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
