"""Run an iterable in a thread of its own, so that the stages of a pipeline overlap.

Every heavy step (decoding, OpenCV, the network, encoding) releases the interpreter lock, so threads are enough. The
queue between two stages is bounded: a fast stage waits for a slow one, and memory does not grow with the video.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()
_POLL = 0.2  # seconds between looks at whether the other side is gone


def overlapped(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """The same items in the same order, made ahead by at most `depth` in another thread.

    An error in that thread is raised here, after the items that came before it. Closing the returned generator (or
    letting it go) stops the thread and closes the iterable in it, if that can be closed.
    """
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((item, None)):
                    break
            else:
                put((_END, None))
        except BaseException as error:  # it belongs to the consumer, who raises it
            put((_END, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="edgecolor-stage", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
