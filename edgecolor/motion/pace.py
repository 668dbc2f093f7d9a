"""Decide which frames the network looks at.

Color is smoothed over time anyway, so a look at every frame is mostly wasted. The frames between two looks take the
colors of the looks along the motion on the token grid; at full size their edges follow each frame's own luma.
"""

from edgecolor.motion.flow import Motion


class Pace:
    """Asked frame by frame.

    rate        looks per second that are enough while motion explains what changes; 0: look at every frame
    unexplained share of a frame, in [0, 1], that the last look may not show before the frame gets a look of its own
    """

    def __init__(self, rate: float, unexplained: float = 0.15):
        self.rate, self.unexplained = rate, unexplained
        self._looked: float | None = None  # both in seconds
        self._asked = 0.0

    def is_due(self, seconds: float) -> bool:
        """Whether the time since the last look is over; to be asked at every frame."""
        step, self._asked = seconds - self._asked, seconds
        # Half a frame of tolerance: the look nearest to the wanted moment, not the first after it.
        return self.rate <= 0 or self._looked is None or seconds - self._looked + step / 2 >= 1 / self.rate

    def is_explained(self, motion: Motion) -> bool:
        """Whether the frame shows what the last look did; motion is from the frame to it."""
        return 1 - float(motion.shown.mean()) <= self.unexplained

    def looked(self, seconds: float) -> None:
        self._looked = seconds
