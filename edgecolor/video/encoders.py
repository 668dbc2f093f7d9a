"""The video encoders that we offer: their quality and speed settings, and what they can hold."""

import difflib
from dataclasses import dataclass

import av
from av.video.format import names as pix_fmt_names

from edgecolor.errors import ConfigError, UnsupportedMediaError
from edgecolor.video.containers import CONTAINERS, Container
from edgecolor.video.planes import chroma_shifts, is_rgb, luma_bit_depth
from edgecolor.video.side_data import HdrMetadata

_X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
# What FFmpeg 7 and 8 call them, from fast to good. Without "b" they hold 2 Mbit/s whatever the quality asked for.
_NVENC = {"preset_option": "preset", "presets": tuple(f"p{n}" for n in range(1, 8)), "default_preset": "p4",
          "options": (("rc", "vbr"), ("b", "0")), "odd_sizes": False, "says_colors": True, "quality_option": "cq",
          "needs": "an NVIDIA GPU with NVENC and its driver"}  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """One encoder of FFmpeg, and how to drive it."""

    name: str
    crf: tuple[float, float, float] | None = None  # best, worst, default; None for those without
    crf_is_quantizer: bool = False  # True: crf is the fixed quantizer
    preset_option: str = ""
    presets: tuple[str, ...] = ()
    default_preset: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    odd_sizes: bool = True  # takes an odd width or height with subsampled chroma
    says_range: bool = False  # in its own stream, whatever the container
    says_colors: bool = False
    says_aspect: bool = False
    says_siting: bool = False
    interlaces: bool = False
    keeps_chroma: bool = False  # a master's codec: takes the source's chroma layout. Others take 4:2:0, which more play
    threads_option: str = ""  # for those that do not take FFmpeg's own setting: option=key
    ranges: tuple[bool, ...] = (False, True)  # values of full_range that it can hold
    quality_option: str = "crf"  # what FFmpeg calls crf
    needs: str = ""  # beside FFmpeg


ENCODERS = {
    encoder.name: encoder
    for encoder in (
        Encoder("libx264", (0, 51, 18), False, "preset", _X26X_PRESETS, "veryfast", (), odd_sizes=False,
                says_range=True, says_colors=True, says_aspect=True, says_siting=True, interlaces=True),
        Encoder("libx265", (0, 51, 20), False, "preset", _X26X_PRESETS, "veryfast",
                (("x265-params", "log-level=error"),), odd_sizes=False,
                says_range=True, says_colors=True, says_aspect=True, says_siting=True,
                threads_option="x265-params=pools"),
        Encoder("libvpx-vp9", (0, 63, 24), False, "cpu-used", tuple("012345678"), "6",
                (("row-mt", "1"), ("tile-columns", "2")), says_range=True),
        Encoder("libsvtav1", (1, 63, 24), False, "preset", tuple(str(n) for n in range(14)), "10",
                says_range=True, says_colors=True, says_siting=True, threads_option="svtav1-params=lp"),
        Encoder("ffv1", options=(("level", "3"),), keeps_chroma=True),
        Encoder("prores_ks", preset_option="profile", presets=("proxy", "lt", "standard", "hq", "4444", "4444xq"),
                says_colors=True, ranges=(False,), keeps_chroma=True),
        Encoder("mpeg4", (1, 31, 3), True, says_aspect=True),
        Encoder("mjpeg", (1, 31, 2), True, says_range=True, says_aspect=True, ranges=(True,)),
        Encoder("h264_nvenc", (1, 51, 19), **_NVENC),
        Encoder("hevc_nvenc", (1, 51, 21), **_NVENC),
    )
}  # fmt: skip


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. None leaves the choice to the writer; every value is checked here as far as it stands alone."""

    codec: str | None = None  # an encoder of FFmpeg, such as libx264
    crf: float | None = None  # constant quality, low is best: to 51 (x264, x265, NVENC), 63 (VP9, AV1), 31 (MPEG-4)
    preset: str | None = None  # speed against size, in the encoder's own words
    pix_fmt: str | None = None  # such as yuv420p10le; must have the source's bit depth
    threads: int = 0  # 0 lets the encoder choose
    drop_unsupported: bool = False  # leave out streams that the container cannot carry, instead of refusing

    def __post_init__(self):
        if self.codec is not None:
            find_encoder(self.codec)
        if self.threads < 0:
            raise ConfigError(f"threads cannot be negative, got {self.threads}; 0 chooses")
        if self.pix_fmt is not None:
            _check_pix_fmt(self.pix_fmt)
        for encoder in [ENCODERS[self.codec]] if self.codec else []:
            check_settings(encoder, self)
        if self.codec is None and self.crf is not None and not 0 <= self.crf <= 63:
            raise ConfigError(f"crf must be between 0 (best) and 51 (63 for VP9 and AV1), got {self.crf:g}")
        known = [preset for encoder in ENCODERS.values() for preset in encoder.presets]
        if self.codec is None and self.preset is not None and self.preset not in known:
            raise ConfigError(f"there is no preset {self.preset}: {_did_you_mean(self.preset, _X26X_PRESETS)}")


def find_encoder(name: str) -> Encoder:
    """The encoder of that name; ConfigError, naming those there are, if it is unknown or not in this FFmpeg."""
    available = [known for known in ENCODERS if known in av.codecs_available]
    if name not in available:
        raise ConfigError(f"there is no codec {name}: {_did_you_mean(name, available)}")
    return ENCODERS[name]


def check_settings(encoder: Encoder, options: EncodeOptions) -> None:
    """Raise ConfigError if crf or preset is none of the encoder's."""
    if options.crf is not None:
        if encoder.crf is None:
            raise ConfigError(f"{encoder.name} has no crf: leave it out")
        best, worst, _ = encoder.crf
        if not best <= options.crf <= worst:
            raise ConfigError(
                f"crf of {encoder.name} must be between {best:g} (best) and {worst:g}, got {options.crf:g}"
            )
    if options.preset is not None and options.preset not in encoder.presets:
        if not encoder.presets:
            raise ConfigError(f"{encoder.name} has no presets: leave it out")
        raise ConfigError(
            f"{encoder.name} has no preset {options.preset}: {_did_you_mean(options.preset, encoder.presets)}"
        )


def choose_encoder(container: Container, options: EncodeOptions, bit_depth: int) -> Encoder:
    """The encoder that was asked for, else the container's first that holds the bit depth.

    raises  UnsupportedMediaError if the container does not take the encoder, or nothing in it holds the bit depth
    """
    if options.codec is not None:
        encoder = find_encoder(options.codec)
        if encoder.name not in container.encoders:
            homes = " or ".join(c.extension for c in CONTAINERS if encoder.name in c.encoders)
            raise UnsupportedMediaError(
                f"{container.extension[1:]} cannot carry {encoder.name}: write to {homes}, "
                f"or use one of {', '.join(container.encoders)}"
            )
    else:
        encoder = next((ENCODERS[name] for name in _deep_enough(container, bit_depth)), None)
        if encoder is None:
            homes = [c.extension for c in CONTAINERS if any(_deep_enough(c, bit_depth))]
            raise UnsupportedMediaError(
                f"{container.extension[1:]} has no codec for {bit_depth} bits: write to {homes[0]} instead"
            )
    check_settings(encoder, options)
    return encoder


def choose_pix_fmt(
    encoder: Encoder, container: Container, options: EncodeOptions, bit_depth: int,
    chroma: tuple[int, int] | None, size: tuple[int, int],
) -> str:  # fmt: skip
    """The pixel format in which luma of this depth reaches the encoder unchanged.

    chroma  (log2_x, log2_y) of the chroma planes to keep, if the encoder can; None takes 4:2:0
    raises  UnsupportedMediaError if there is none: bit depth, or an odd size
    """
    if options.pix_fmt is not None:
        _check_requested(options.pix_fmt, encoder, bit_depth, size)
        return options.pix_fmt
    order = {(0, 0): ("444", "422", "420"), (1, 0): ("422", "444", "420")}.get(chroma or (1, 1), ("420", "422", "444"))
    tail = "p" if bit_depth == 8 else f"p{bit_depth}le"
    held = _pix_fmts(encoder)
    deep = [f"yuv{name}{tail}" for name in order if f"yuv{name}{tail}" in held]
    if not deep:
        others = [name for name in _deep_enough(container, bit_depth) if name != encoder.name]
        advice = f"use codec {others[0]}" if others else "write to .mkv with codec libx265"
        raise UnsupportedMediaError(f"{encoder.name} cannot hold {bit_depth} bits: {advice}")
    fitting = [pix_fmt for pix_fmt in deep if encoder.odd_sizes or not _cuts(pix_fmt, size)]
    if not fitting:
        raise UnsupportedMediaError(
            f"{encoder.name} cannot hold the odd size {size[0]} x {size[1]} at {bit_depth} bits: use codec libx265"
        )
    if fitting[0] != deep[0]:  # an odd size: no subsampling at all rather than in one direction
        return next((pix_fmt for pix_fmt in fitting if chroma_shifts(pix_fmt) == (0, 0)), fitting[0])
    return fitting[0]


def encoder_options(
    encoder: Encoder, options: EncodeOptions, hdr: HdrMetadata | None = None, field_order: str | None = None
) -> dict[str, str]:
    """FFmpeg's options for quality, speed, HDR data and, if a field order is given, interlaced coding."""
    chosen = dict(encoder.options)
    crf = options.crf if options.crf is not None else (encoder.crf or (None,))[-1]
    if crf is not None and encoder.crf_is_quantizer:
        chosen |= {"flags": "+qscale", "global_quality": str(round(crf * 118))}  # in FFmpeg's lambda units
    elif crf is not None:
        chosen[encoder.quality_option] = f"{crf:g}"
    preset = options.preset or encoder.default_preset
    if preset is not None:
        chosen[encoder.preset_option] = preset
        if encoder.name == "libvpx-vp9":  # whose settings from 6 on exist in real-time mode only
            chosen["deadline"] = "realtime" if preset > "5" else "good"
    extra = _hdr_options(encoder.name, hdr) if hdr else {}
    if field_order is not None:
        chosen["field_order"] = field_order
        if encoder.interlaces:
            chosen["flags"] = "+ilme+ildct"
            # FFmpeg would take this from each frame, where PyAV cannot set it. The second letter is shown first.
            fields = "tff=1" if field_order in ("tt", "bt") else "bff=1"
            extra["x264-params"] = ":".join(filter(None, (extra.get("x264-params"), fields)))
    if options.threads and encoder.threads_option:
        name, key = encoder.threads_option.split("=")
        extra[name] = ":".join(filter(None, (extra.get(name), f"{key}={options.threads}")))
    for name, value in extra.items():
        chosen[name] = ":".join(filter(None, (chosen.get(name), value)))
    return chosen


def says_hdr(encoder: Encoder) -> bool:
    """Whether the encoder writes mastering display and content light data."""
    return encoder.name in ("libx264", "libx265", "libsvtav1")


def _hdr_options(encoder: str, hdr: HdrMetadata) -> dict[str, str]:
    if encoder not in ("libx264", "libx265", "libsvtav1"):
        return {}
    parts = []
    whole = encoder != "libsvtav1"  # x264 and x265 count in 0.00002 and 0.0001 cd/m2
    if hdr.primaries and hdr.luminance:
        red, green, blue, white = (
            f"({round(x * 50000)},{round(y * 50000)})" if whole else f"({x:.5f},{y:.5f})" for x, y in hdr.primaries
        )
        low, high = hdr.luminance
        levels = f"({round(high * 10000)},{round(low * 10000)})" if whole else f"({high:.4f},{low:.4f})"
        name = "master-display" if encoder == "libx265" else "mastering-display"
        parts.append(f"{name}=G{green}B{blue}R{red}WP{white}L{levels}")
    if hdr.content_light:
        name = {"libx264": "cll", "libx265": "max-cll", "libsvtav1": "content-light"}[encoder]
        parts.append(f"{name}={hdr.content_light[0]},{hdr.content_light[1]}")
    return {f"{encoder.removeprefix('lib')}-params": ":".join(parts)}


def _deep_enough(container: Container, bit_depth: int) -> list[str]:
    tail = "p" if bit_depth == 8 else f"p{bit_depth}le"
    formats = {name: _pix_fmts(ENCODERS[name]) for name in container.encoders if name in av.codecs_available}
    return [name for name, held in formats.items() if any(f.startswith("yuv4") and f.endswith(tail) for f in held)]


def _pix_fmts(encoder: Encoder) -> list[str]:
    return [made.name for made in av.Codec(encoder.name, "w").video_formats]


def _cuts(pix_fmt: str, size: tuple[int, int]) -> bool:
    """True if subsampling leaves half a chroma sample at an edge."""
    log2_x, log2_y = chroma_shifts(pix_fmt)
    return bool(size[0] % (1 << log2_x) or size[1] % (1 << log2_y))


def _check_pix_fmt(name: str) -> None:
    if name not in pix_fmt_names:
        raise ConfigError(f"there is no pix_fmt {name}: {_did_you_mean(name, sorted(pix_fmt_names))}")
    planar = name.startswith("yuv4") and chroma_shifts(name) in ((0, 0), (1, 0), (1, 1)) and not name.endswith("be")
    if is_rgb(name) or not planar:
        raise ConfigError(f"pix_fmt {name} cannot be written here: use planar YUV such as yuv420p or yuv420p10le")


def _check_requested(pix_fmt: str, encoder: Encoder, bit_depth: int, size: tuple[int, int]) -> None:
    held = [name for name in _pix_fmts(encoder) if name.startswith("yuv4") and not name.endswith("be")]
    if pix_fmt not in held:
        raise UnsupportedMediaError(f"{encoder.name} cannot encode {pix_fmt}: use one of {', '.join(held)}")
    if (bits := luma_bit_depth(pix_fmt)) != bit_depth:
        raise UnsupportedMediaError(
            f"pix_fmt {pix_fmt} has {bits} bits and the source {bit_depth}, so the luma could not stay as it is: "
            f"use one with {bit_depth} bits, or leave pix_fmt out"
        )
    if not encoder.odd_sizes and _cuts(pix_fmt, size):
        raise UnsupportedMediaError(
            f"{encoder.name} cannot encode {size[0]} x {size[1]} as {pix_fmt}: use a yuv444p format"
        )


def _did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near and len(known) > 20 else f"use one of {', '.join(known)}"
