"""overlapped(): order, errors, bounds and clean ends. pytest tests/test_overlap.py"""

import threading
import time

import pytest

from edgecolor.overlap import overlapped


def stage_threads() -> int:
    return sum(thread.name == "edgecolor-stage" for thread in threading.enumerate())


def test_items_come_in_order_and_all():
    assert list(overlapped(overlapped(range(1000), depth=2), depth=3)) == list(range(1000))


def test_the_producer_is_never_more_than_the_depth_ahead():
    made = []

    def source():
        for i in range(50):
            made.append(i)
            yield i

    for i in overlapped(source(), depth=3):
        time.sleep(0.001)
        assert len(made) <= i + 1 + 3 + 2  # taken, queued, one waiting to be queued and one being made


def test_an_error_arrives_after_the_items_before_it():
    def source():
        yield from (1, 2)
        raise OSError("disk on fire")

    got = []
    with pytest.raises(OSError, match="disk on fire"):
        for item in overlapped(overlapped(source())):
            got.append(item)
    assert got == [1, 2]
    assert stage_threads() == 0


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed = []

    def source():
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    items = overlapped(source())
    assert next(items) == 0
    items.close()
    assert closed == [True]
    assert stage_threads() == 0


def test_stages_overlap_in_time():
    def slow(items):
        for item in items:
            time.sleep(0.02)
            yield item

    began = time.monotonic()
    for _ in slow(overlapped(slow(overlapped(slow(range(20)))))):
        pass
    assert time.monotonic() - began < 0.75 * 3 * 20 * 0.02
