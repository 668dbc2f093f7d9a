"""edgecolor colorize IN OUT: a video, a still image, or a folder of them."""

import sys
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command(help="Colorize a video, a picture, or a folder of them; everything else in a file is kept.")(colorize)


def colorize(
    src: Path = typer.Argument(
        metavar="IN", help="Video; PNG, JPEG, TIFF, WebP, JPEG 2000, BMP picture; or a folder of such."
    ),
    dst: Path = typer.Argument(
        metavar="OUT", help="File to write, whose extension chooses the container; or a folder."
    ),
    model: str | None = typer.Option(None, help="Name from `edgecolor models`, or a model file."),
    backend: str = typer.Option("auto", help="auto, or one from `edgecolor doctor`."),
    temperature: float | None = typer.Option(None, help="In (0, 1]: lower is more vivid. Default: the model's."),
    saturation: float | None = typer.Option(None, help="Factor on the colors; 0 is gray. Default: the model's."),
    warmth: float = typer.Option(0.0, help="Ab units toward amber, or below 0 toward blue, for all colors."),
    brightness: float = typer.Option(0.0, help="Pictures only, in [-1, 1]: bends their lightness; 0 keeps it."),
    half_life: float | None = typer.Option(
        None, help="Seconds until a past frame weighs half; 0: no smoothing. Default: the model's."
    ),
    scene_cut: float = typer.Option(0.5, help="In (0, 1]: how unlike two frames must be to drop the past."),
    look_ahead: float = typer.Option(0.5, help="Seconds of later frames that have a say; 0: only past ones."),
    shot_memory: float = typer.Option(
        0.0, help="In [0, 1]: say of the colors that things had before in this video; 0: none."
    ),
    reference: list[str] = typer.Option(
        [], metavar="PICTURE[@TIME]", help="Take colors from this picture, from TIME on. Repeatable."
    ),
    keep_frames: Path | None = typer.Option(
        None,
        metavar="FOLDER",
        help="Corrected frames, named by their numbers from 0 at the start, such as frame-000312.png.",
    ),
    hint: list[str] = typer.Option(
        [], metavar="X,Y,#RRGGBB[@TIME]", help="This color at pixel X,Y, of the frame at TIME. Repeatable."
    ),
    hints: Path | None = typer.Option(None, metavar="FILE", help="Text file with one such hint per line."),
    motion: str = typer.Option(
        "flow", help="flow, or codec: back to the last look by the file's own motion vectors, where they hold."
    ),
    views: int | None = typer.Option(
        None, help="Views of each picture that the network sees, 1 to 4: more hold steadier. Default: the model's."
    ),
    network_rate: float = typer.Option(4.0, help="Looks of the network per second, at the least; 0: every frame."),
    working_size: int | None = typer.Option(None, help="Short side the network sees, px. Default: the model's."),
    start: str = typer.Option("0", metavar="TIME", help="Start here: seconds, or a time such as 1:30."),
    duration: str | None = typer.Option(None, metavar="TIME", help="Stop after so long."),
    codec: str | None = typer.Option(None, help="Video encoder, such as libx264, libx265, ffv1."),
    crf: float | None = typer.Option(None, help="Quality of the encoder; lower is better."),
    preset: str | None = typer.Option(None, help="Speed of the encoder, such as veryfast."),
    pix_fmt: str | None = typer.Option(
        None, help="Pixel format to encode, such as yuv444p; default: 4:2:0; ffv1, ProRes: the source's layout."
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace OUT if it exists; in a folder, what is there is left out otherwise."
    ),
    compare: bool = typer.Option(False, "--compare", help="Write original and result side by side."),
    drop_unsupported: bool = typer.Option(
        False, "--drop-unsupported", help="Leave out streams that the container cannot carry, instead of refusing."
    ),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network. Default: all cores."),
    quiet: bool = typer.Option(False, "--quiet", help="Print errors only."),
) -> None:
    from edgecolor.config import ColorConfig
    from edgecolor.errors import ConfigError
    from edgecolor.hint_files import read_hint, read_hints
    from edgecolor.images import is_image
    from edgecolor.reference_files import read_kept_frames, read_reference
    from edgecolor.times import parse_time

    config = ColorConfig(
        temperature=temperature,
        saturation=saturation,
        warmth=warmth,
        half_life=half_life,
        scene_cut=scene_cut,
        look_ahead=look_ahead,
        shot_memory=shot_memory,
        motion=motion,
        views=views,
        network_rate=network_rate,
        working_size=working_size,
    )
    first = parse_time(start, "--start")
    length = None if duration is None else parse_time(duration, "--duration")
    references = [read_reference(text) for text in reference]
    given = [read_hint(text) for text in hint] + ([] if hints is None else read_hints(hints))
    opening = {"model": model, "backend": backend, "config": config, "references": references, "hints": given}
    opening["threads"] = threads
    of_picture = {"brightness": brightness, "overwrite": overwrite, "compare": compare}
    if is_image(src) and not src.is_dir():
        for_video = {"start": first or None, "duration": length, "codec": codec, "crf": crf, "preset": preset,
                     "pix-fmt": pix_fmt, "keep-frames": keep_frames}  # fmt: skip
        if misplaced := [f"--{name}" for name, value in for_video.items() if value is not None]:
            raise ConfigError(f"{misplaced[0]} is for videos, and {src.name} is a picture: leave it out")
        _picture(src, dst, quiet, **opening, **of_picture)
        return
    from edgecolor.video import EncodeOptions

    encode = EncodeOptions(codec=codec, crf=crf, preset=preset, pix_fmt=pix_fmt, drop_unsupported=drop_unsupported)
    of_video = {"encode": encode, "start": first, "duration": length, "overwrite": overwrite, "compare": compare}
    if src.is_dir():
        if misplaced := "--keep-frames" if keep_frames else "hints" if given else None:
            raise ConfigError(f"{misplaced} are for one file, and {src} is a folder: leave them out")
        _folder(src, dst, quiet, opening, of_picture, of_video)
        return
    if brightness:
        raise ConfigError("--brightness is for pictures: the luma of a video stays as it is, bit for bit; leave it out")
    if keep_frames is not None:
        references += read_kept_frames(keep_frames)
    _video(src, dst, quiet, **opening, **of_video)


def _picture(src: Path, dst: Path, quiet: bool, **options) -> None:
    from edgecolor.colorize import colorize_image_file

    _warn(colorize_image_file(src, dst, **options))
    if not quiet:
        print(f"wrote {dst}")


def _video(src: Path, dst: Path, quiet: bool, **options) -> None:
    import cv2

    from edgecolor.backends.files import usable_cores
    from edgecolor.cli.progress import FrameProgress
    from edgecolor.colorize import colorize_video

    # Decoder, network, coloring and encoder run side by side and fill the cores; OpenCV's threads would add waiting: a
    # tenth of the time on two cores.
    cv2.setNumThreads(max(1, usable_cores() // 2))
    with FrameProgress(src.name, quiet=quiet) as progress:
        report = colorize_video(src, dst, progress=progress, **options)
    _warn(report.warnings)
    if not quiet:
        rate = f"{report.frames} frames, {report.frames_per_second:.1f} fps"
        print(f"wrote {dst}: {rate}, {report.scene_cuts} scene cuts, {report.model} in {report.backend}")


def _warn(lines: list[str]) -> None:
    for line in lines:
        print(f"edgecolor: warning: {line}", file=sys.stderr)


def _folder(src: Path, dst: Path, quiet: bool, opening: dict, of_picture: dict, of_video: dict) -> None:
    """Each file by itself: one that fails does not keep the others from being colored."""
    from edgecolor.colorize import open_colorizer
    from edgecolor.errors import EdgeColorError, MediaError
    from edgecolor.folder import plan_folder
    from edgecolor.images import is_image

    files = plan_folder(src, dst)
    todo = [(one, target) for one, target in files if of_video["overwrite"] or not target.exists()]
    colorizer = open_colorizer(**opening) if todo else None
    try:
        dst.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"the folder {dst} cannot be made ({error.strerror}): name another one") from error
    failed = 0
    for one, target in todo:
        color, options = (_picture, of_picture) if is_image(one) else (_video, of_video)
        try:
            color(one, target, quiet, colorizer=colorizer, **options)
        except EdgeColorError as error:
            print(f"edgecolor: error: {error}", file=sys.stderr)
            failed += 1
        except Exception as error:  # a fault of ours, which is not to cost the night's work
            print(f"edgecolor: error: {one}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
            failed += 1
    if not quiet:
        there = len(files) - len(todo)
        left = f"; already there: {there} (--overwrite colors them again)" if there else ""
        print(f"{len(todo) - failed} of {len(files)} files of {src} are colored{left}")
    if failed:
        raise MediaError(f"{failed} of {len(files)} files of {src} were not colored: see above")
