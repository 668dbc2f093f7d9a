"""Decide which frames the network looks at.

Color is smoothed over time anyway, so a look at every frame is mostly wasted. The frames between two looks take the
colors of the last one along the motion on the token grid; at full size their edges follow each frame's own luma.
"""

import numpy as np

from edgecolor.motion.scene_cut import unlikeness


class Pace:
    """Asked frame by frame whether the network is due.

    rate    looks per second that are enough while little moves; 0: look at every frame
    change  how unlike the frame of the last look a frame may be (see scene_cut) before it gets a look of its own
    """

    def __init__(self, rate: float, change: float = 0.2):
        self.rate, self.change = rate, change
        self._seen: np.ndarray | None = None
        self._seen_seconds = self._last_seconds = 0.0

    def is_due(self, thumbnail: np.ndarray, seconds: float, is_cut: bool) -> bool:
        """thumbnail of the frame's lightness, its time, and whether it starts a scene (it is due then)."""
        step, self._last_seconds = seconds - self._last_seconds, seconds
        # Half a frame of tolerance: the look nearest to the wanted moment, not the first after it.
        on_time = self.rate <= 0 or seconds - self._seen_seconds + step / 2 >= 1 / self.rate
        due = is_cut or self._seen is None or on_time or unlikeness(self._seen, thumbnail) > self.change
        if due:
            self._seen, self._seen_seconds = thumbnail, seconds
        return due
