"""edgecolor compare IMAGES --models a,b,c: one sheet, one table, and which model is best by which measure."""

import sys
from pathlib import Path
from typing import Annotated

import typer

IMAGES = "Pictures, or folders of them; color ones are turned gray first and judged against their colors."
MODELS = "Names, model files or checkpoints, with commas between; `gray` leaves pictures as they are."


def register(app: typer.Typer) -> None:
    app.command(help="Color the same pictures by several models, side by side.")(compare)


def compare(
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help=IMAGES)],
    models: str = typer.Option(..., help=MODELS),
    out: Path = typer.Option(Path("compare.png"), help="The sheet: gray, each model, original where it is known."),
    rows: int = typer.Option(16, min=1, help="Pictures on the sheet."),
    classifier: Annotated[Path | None, typer.Option(help="ImageNet weights for recognition agreement.")] = None,
    lpips: str | None = typer.Option(None, help="Also LPIPS with this network: alex, vgg or squeeze."),
    fid: bool = typer.Option(False, "--fid", help="Also FID, where the weights of Inception are there."),
    json: bool = typer.Option(False, "--json", help="Print the JSON line only."),
    backend: str = typer.Option("auto", help="auto, or one from `edgecolor doctor`."),
    working_size: int | None = typer.Option(None, help="Short side the networks see, px. Default: each model's."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the sheet if it exists."),
    threads: int = typer.Option(2, min=1, help="Threads that compute the metrics."),
) -> None:
    from edgecolor.cli.training import import_torch
    from edgecolor.errors import ConfigError, MediaError

    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--models takes different models with commas between, got {models!r}")
    if out.exists() and not overwrite:
        raise MediaError(f"{out} exists already: choose another --out, or add --overwrite")
    import_torch()
    from edgecolor.train.compare_models import best_of, compare_models
    from edgecolor.train.report import check_picture, json_line, print_table, write_sheet

    check_picture(out)
    compared = compare_models(
        names,
        images,
        rows,
        classifier=classifier,
        lpips=lpips,
        fid=fid,
        backend=backend,
        workers=threads,
        working_size=working_size,
    )
    write_sheet(out, compared.sheet, ["gray", *(Path(name).name for name in names), "original"])
    best = best_of(compared.figures)
    for line in compared.left_out:
        print(f"edgecolor: left out: {line}", file=sys.stderr)
    if not json:
        print_table(compared.figures, compared.title)
        for name in names:
            if measures := [measure for measure, winner in best.items() if winner == name]:
                print(f"{Path(name).name} is best by {', '.join(measures)}")
        print(f"wrote {out}")
    print(json_line({**compared.plain(), "best": best}))
