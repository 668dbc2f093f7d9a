"""edgecolor preview IN: one frame under different settings, in one picture."""

import sys
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command(help="Draw one frame under different settings, to choose by looking.")(preview)


def preview(
    src: Path = typer.Argument(metavar="IN", help="Video or picture."),
    out: Path | None = typer.Option(None, help="Picture to write. Default: IN's name with -preview.png, here."),
    at: str | None = typer.Option(None, help="Time of the frame, such as 12.5, 0:12, 1:02:03. Default: the beginning."),
    grid: str | None = typer.Option(
        None,
        help="One or two of temperature, half-life, saturation, warmth, working-size, look-ahead; values may be "
        "listed: saturation=0.8/1/1.2. Default: temperature,half-life; of a picture temperature,saturation.",
    ),
    model: str | None = typer.Option(None, help="Name from `edgecolor models`, or a model file."),
    backend: str = typer.Option("auto", help="auto, or one from `edgecolor doctor`."),
    temperature: float | None = typer.Option(
        None, help="Where it does not vary: as for colorize, like the next seven."
    ),
    saturation: float | None = typer.Option(None),
    warmth: float = typer.Option(0.0),
    half_life: float | None = typer.Option(None),
    look_ahead: float = typer.Option(0.5),
    views: int | None = typer.Option(None),
    network_rate: float = typer.Option(4.0),
    working_size: int | None = typer.Option(None),
    reference: list[str] = typer.Option([], metavar="PICTURE[@TIME]", help="As for colorize, like the next two."),
    hint: list[str] = typer.Option([], metavar="X,Y,#RRGGBB[@TIME]"),
    hints: Path | None = typer.Option(None, metavar="FILE"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the picture if it exists."),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network. Default: all cores."),
    quiet: bool = typer.Option(False, "--quiet", help="Print errors only."),
) -> None:
    from edgecolor.cli.progress import FrameProgress
    from edgecolor.config import ColorConfig
    from edgecolor.hint_files import read_hint, read_hints
    from edgecolor.preview import FOLLOWED, out_of_reach, preview
    from edgecolor.reference_files import read_reference
    from edgecolor.times import parse_time

    out = out or Path(f"{src.stem}-preview.png")
    config = ColorConfig(
        temperature=temperature,
        saturation=saturation,
        warmth=warmth,
        half_life=half_life,
        look_ahead=look_ahead,
        views=views,
        network_rate=network_rate,
        working_size=working_size,
    )
    time = None if at is None else parse_time(at, "--at")
    given = [read_hint(text) for text in hint] + ([] if hints is None else read_hints(hints))
    with FrameProgress(src.name, quiet=quiet) as progress:
        columns, rows = preview(
            src,
            out,
            grid,
            time,
            model,
            backend=backend,
            config=config,
            references=[read_reference(text) for text in reference],
            hints=given,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
    if late := out_of_reach(given, time):
        which = f"hint {late[0]} begins" if len(late) == 1 else f"{len(late)} hints begin, the first {late[0]},"
        print(f"edgecolor: warning: {which} more than {FOLLOWED:g} s earlier: not shown", file=sys.stderr)
    if not quiet:
        print(f"wrote {out}: {columns} x {rows} pictures")
