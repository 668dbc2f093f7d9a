"""Make a black-and-white clip, colorize it, and show what came out.

    python benchmarks/demo.py FOLDER

The clip is ten seconds of camera moves over public-domain and CC0 photographs that scikit-image ships, with sound.
"""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage
from PIL import Image

RATE = 24
SIZE = (1280, 720)
SECONDS_A_PHOTOGRAPH = 2.5
PHOTOGRAPHS = {"chelsea.png": 0.4, "astronaut.png": 0.05, "coffee.png": 0.4, "rocket.jpg": 0.4}  # name: how far down
SAMPLE_RATE = 44100


def photograph(name: str) -> np.ndarray:
    """(H, W) uint8 gray, as a black-and-white film would have recorded it."""
    rgb = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB"))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def camera_move(gray: np.ndarray, t: float, down: float) -> np.ndarray:
    """The picture through a camera that moves in and to the right as t goes from 0 to 1."""
    height, width = gray.shape
    aspect = SIZE[0] / SIZE[1]
    full = min(width, height * aspect)
    view = full * (1 - 0.15 * t)
    left = (width - view) * (0.4 + 0.2 * t)
    top = (height - view / aspect) * down
    matrix = np.array([[view / SIZE[0], 0, left], [0, view / SIZE[0], top]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(gray, matrix, SIZE, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def melody(seconds: float) -> np.ndarray:
    """A quiet arpeggio: (1, samples) float32."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    notes = 220 * 2 ** (np.array([0, 4, 7, 12])[(t * 2).astype(int) % 4] / 12)
    return (0.1 * np.sin(2 * np.pi * notes * t) * np.exp(-2 * (t * 2 % 1)))[None].astype(np.float32)


def write_clip(path: Path) -> None:
    """Encode the sample: H.264 with AAC in MP4, every chroma sample neutral."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for name, down in PHOTOGRAPHS.items():
            gray, count = photograph(name), round(SECONDS_A_PHOTOGRAPH * RATE)
            for i in range(count):
                frame = av.VideoFrame.from_ndarray(camera_move(gray, i / count, down), format="gray")
                container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = melody(SECONDS_A_PHOTOGRAPH * len(PHOTOGRAPHS))
        for first in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(samples[:, first : first + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def frames_at(path: Path, seconds: list[float]) -> list[np.ndarray]:
    """RGB frames of a clip at the given times."""
    wanted, found = list(seconds), []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            if wanted and frame.time >= wanted[0]:
                found.append(frame.to_ndarray(format="rgb24"))
                wanted.pop(0)
    return found


def before_after(before: Path, after: Path, picture: Path) -> None:
    """Draw one frame of each photograph, gray above, colored below."""
    times = [SECONDS_A_PHOTOGRAPH * (i + 0.5) for i in range(len(PHOTOGRAPHS))]
    rows = [np.concatenate(frames_at(path, times), axis=1) for path in (before, after)]
    sheet = np.concatenate(rows)
    small = cv2.resize(sheet, (sheet.shape[1] * 2 // 5, sheet.shape[0] * 2 // 5), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(picture)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    before, after, picture = folder / "sample-bw.mp4", folder / "sample-color.mp4", folder / "before-after.png"
    print(f"making {before}", flush=True)
    write_clip(before)
    command = Path(sys.executable).with_name("edgecolor")
    subprocess.run([command, "colorize", before, after, "--overwrite"], check=True)
    before_after(before, after, picture)
    print(f"black-and-white clip: {before.resolve()}")
    print(f"colored clip:         {after.resolve()}")
    print(f"before and after:     {picture.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
