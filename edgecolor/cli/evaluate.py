"""edgecolor evaluate MODEL DATA: a table of figures, one JSON line, a contact sheet."""

import sys
from pathlib import Path
from typing import Annotated

import typer

JUDGED = (
    "A model (a name, a model file, a trainer's checkpoint, or `gray`), or several with --compare; last, the pictures "
    "(folder, .tar, pattern, picture) or clips to judge it on."
)
CLASSIFIER = "ImageNet weights (.safetensors) for recognition agreement and kernel distance."
SHEET = "Write a contact sheet (.png, .jpg): gray | ours | original."


def register(app: typer.Typer) -> None:
    app.command(help="Judge a model on photographs or clips that are turned gray first.")(evaluate)


def evaluate(
    arguments: Annotated[list[str], typer.Argument(metavar="MODEL... DATA", help=JUDGED)],
    compare: bool = typer.Option(False, "--compare", help="Judge several models, side by side: --compare A B C DATA."),
    limit: int | None = typer.Option(None, min=1, help="Use the first so many pictures, or frames of each clip."),
    classifier: Annotated[Path | None, typer.Option(help=CLASSIFIER)] = None,
    lpips: str | None = typer.Option(None, help="Also LPIPS with this network: alex, vgg or squeeze."),
    fid: bool = typer.Option(False, "--fid", help="Also FID, where the weights of Inception are there."),
    sheet: Annotated[Path | None, typer.Option(help=SHEET)] = None,
    sheet_rows: int = typer.Option(8, min=1, help="Pictures on the contact sheet."),
    json: bool = typer.Option(False, "--json", help="Print the JSON line only."),
    backend: str = typer.Option("auto", help="auto, or one from `edgecolor doctor`."),
    temperature: float | None = typer.Option(None, help="In (0, 1]: lower is more vivid. Default: the model's."),
    saturation: float | None = typer.Option(None, help="Factor on the colors; 0 is gray. Default: the model's."),
    working_size: int | None = typer.Option(None, help="Short side the network sees, px. Default: the model's."),
    half_life: float | None = typer.Option(
        None, help="Clips: seconds until a past frame weighs half; 0: no smoothing. Default: the model's."
    ),
    look_ahead: float = typer.Option(0.5, help="Clips: seconds of later looks that have a say; 0: the past alone."),
    threads: int = typer.Option(2, min=1, help="Threads that compute the metrics."),
) -> None:
    from edgecolor.errors import ConfigError

    if len(arguments) < 2:
        raise ConfigError("evaluate needs a model and, last, the data: edgecolor evaluate MODEL DATA")
    *models, data = arguments
    if len(models) > 1 and not compare:
        raise ConfigError(f"{len(models)} models were given ({', '.join(models)}): add --compare for a table of them")
    if len(set(models)) < len(models):
        raise ConfigError("the same model is given twice to --compare")

    from edgecolor.train.evaluate_model import evaluate_models
    from edgecolor.train.report import check_picture, json_line, print_table, write_sheet

    if sheet:
        check_picture(sheet)
    report = evaluate_models(
        models,
        data,
        limit=limit,
        classifier=classifier,
        lpips=lpips,
        fid=fid,
        examples=sheet_rows if sheet else 0,
        backend=backend,
        workers=threads,
        temperature=temperature,
        saturation=saturation,
        working_size=working_size,
        half_life=half_life,
        look_ahead=look_ahead,
    )
    if sheet:
        write_sheet(sheet, report.sheet, ["gray", *(Path(model).name for model in models), "original"])
    for line in report.left_out:
        print(f"edgecolor: left out: {line}", file=sys.stderr)
    if not json:
        print_table(report.figures, report.title)
    print(json_line(report.plain()))
