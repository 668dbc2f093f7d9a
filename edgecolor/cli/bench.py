"""edgecolor bench: how fast each part is on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command(help="Measure frames per second and latency on this machine; the last line is JSON.")(bench)


def bench(
    model: str | None = typer.Option(None, help="Name from `edgecolor models`, or a model file."),
    backend: Annotated[list[str] | None, typer.Option(help="Several times. Default: all that are installed.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="480p to 2160p; several times. Default: four of them.")] = None,
    streams: Annotated[list[int] | None, typer.Option(help="Pictures at a time; several times. Default: 1, 4.")] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="net, op, step, pipeline, video; several times. Default: all.")
    ] = None,
    seconds: float = typer.Option(3.0, help="Each figure is measured so long."),
    video: Annotated[Path | None, typer.Option(help="A file to colorize as a whole, with its codecs.")] = None,
    network_rate: float | None = typer.Option(None, help="Looks of the network per second; 0: every frame."),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network. Default: all cores."),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report there too.")] = None,
) -> None:
    from edgecolor.backends import BACKENDS
    from edgecolor.bench import PARTS, Row, run
    from edgecolor.config import ColorConfig

    line = "{:9} {:12} {:10} {:>9} {:>8} {:>9} {:>10} {:>9} {:>9}  {}"
    print(line.format("part", "backend", "model", "size", "streams", "fps", "median ms", "p99 ms", "cpu ms", ""))

    def tell(row: Row) -> None:
        figures = (f"{row.fps:.1f}", f"{row.median_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.cpu_ms:.2f}")
        print(line.format(row.part, row.backend, row.model, row.size, row.streams, *figures, row.note), flush=True)

    config = ColorConfig() if network_rate is None else ColorConfig(network_rate=network_rate)
    sizes, counts = tuple(size or ("480p", "720p", "1080p", "2160p")), tuple(streams or (1, 4))
    names, parts = tuple(backend or BACKENDS), tuple(part or PARTS)
    report = run(model, names, sizes, counts, parts, seconds, video, config, threads, tell)
    for name, reason in report["not run"].items():
        print(f"not run: {name}: {reason}")
    text = json.dumps(report)
    print(text)
    if json_file:
        json_file.write_text(text + "\n", encoding="utf-8")
