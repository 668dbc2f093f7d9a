"""What a user may choose about the colors. Frozen, flat, checked where it is made, so no stage checks again."""

from dataclasses import dataclass

from edgecolor.errors import ConfigError

# How motion is found: optical flow; or the file's own motion vectors where it has them and they hold, flow elsewhere.
MOTIONS = ("flow", "codec")
MOST_VIEWS = 4  # of one picture, see backends/views.py


@dataclass(frozen=True)
class ColorConfig:
    temperature: float | None = None  # of the annealed mean, in (0, 1]; None: the model's own
    saturation: float | None = None  # factor on ab, 0 is gray; None: the model's own
    warmth: float = 0.0  # ab units that all colors move along daylight's line: above 0 to amber, below to blue
    half_life: float | None = None  # seconds until a past frame weighs half; 0: no smoothing; None: the model's own
    scene_cut: float = 0.5  # how unlike two frames must be to drop the past, in (0, 1]; see motion/scene_cut.py
    # Seconds of later looks that have a say, as far as memory holds them; 0: colors depend on the past alone.
    look_ahead: float = 0.5
    shot_memory: float = 0.0  # say of the colors that things had before in this video, in [0, 1]; 0: none
    motion: str = "flow"  # between frames, one of MOTIONS
    network_rate: float = 4.0  # looks of the network per second of video, at the least; 0: at every frame
    views: int | None = None  # of each picture that the network sees, 1 to 4, where it is opened; None: the model's own
    working_size: int | None = None  # short side of what the network sees, in pixels; None: the model's own

    def __post_init__(self):
        if self.temperature is not None and not 0 < self.temperature <= 1:
            raise ConfigError(f"temperature must lie in (0, 1], got {self.temperature}")
        if self.saturation is not None and not 0 <= self.saturation <= 4:
            raise ConfigError(f"saturation must lie in [0, 4], got {self.saturation}")
        if not -60 <= self.warmth <= 60:
            raise ConfigError(f"warmth is in ab units, from -60 to 60, got {self.warmth}")
        if self.half_life is not None and not 0 <= self.half_life < float("inf"):
            raise ConfigError(f"half-life is in seconds and cannot be negative or infinite, got {self.half_life}")
        if not 0 <= self.look_ahead <= 10:
            raise ConfigError(f"look-ahead is in seconds, from 0 to 10, got {self.look_ahead}")
        if not 0 <= self.shot_memory <= 1:
            raise ConfigError(f"shot-memory must lie in [0, 1], got {self.shot_memory}")
        if self.motion not in MOTIONS:
            raise ConfigError(f"motion is one of {', '.join(MOTIONS)}, got {self.motion!r}")
        if not 0 < self.scene_cut <= 1:
            raise ConfigError(f"scene-cut must lie in (0, 1], got {self.scene_cut}")
        if not 0 <= self.network_rate < float("inf"):
            raise ConfigError(f"network-rate is in looks per second and cannot be negative, got {self.network_rate}")
        if self.views is not None and not 1 <= self.views <= MOST_VIEWS:
            raise ConfigError(f"views must lie in [1, {MOST_VIEWS}], got {self.views}")
        if self.working_size is not None and not 32 <= self.working_size <= 1024:
            raise ConfigError(f"working-size must lie in [32, 1024], got {self.working_size}")
