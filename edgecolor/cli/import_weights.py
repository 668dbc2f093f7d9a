"""edgecolor import-weights FILE: the published weights of Zhang 2016 and 2017 to files that colorize."""

import sys
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command(
        name="import-weights", help="Turn published weights (.pth) of eccv16, siggraph17 or colorful into ours."
    )(import_weights)


def import_weights(
    file: Path = typer.Argument(metavar="FILE", help="The .pth file as its authors gave it out."),
    folder: Path | None = typer.Argument(None, help="Where to write. Default: where FILE lies."),
    model: str | None = typer.Option(None, help="The network that it is. Default: recognised by its tensors."),
    photos: Path | None = typer.Option(
        None, help="Folder of color photographs: measure whether the softmax temperature is in the weights."
    ),
    temperature: float | None = typer.Option(None, help="Default of the annealed mean, where you know it."),
    license: str = typer.Option("", help="License of the weights, for the manifest."),
) -> None:
    from edgecolor.cli.training import import_torch
    from edgecolor.errors import MissingDependencyError

    import_torch()
    try:
        from edgecolor.export.import_weights import import_weights as run
    except ImportError as error:
        raise MissingDependencyError(f"import needs {error.name}: pip install 'edgecolor[train]'") from error
    done = run(file, folder, model=model, photos=photos, temperature=temperature, license=license)
    for note in done.notes:
        print(f"edgecolor: warning: {note}", file=sys.stderr)
    for path in done.files:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if done.manifest.temperature_source:
        print(f"temperature {done.manifest.temperature:g}: {done.manifest.temperature_source}")
