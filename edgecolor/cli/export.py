"""edgecolor export CHECKPOINT FOLDER: a training checkpoint to the files that colorize."""

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    app.command(help="Write a trained checkpoint as NAME.onnx, NAME.safetensors and, for tokens, decode.onnx.")(export)


def export(
    checkpoint: Path = typer.Argument(help="checkpoint.pt of a training run."),
    folder: Path = typer.Argument(help="Where to write; made if need be."),
    prior_shift: float = typer.Option(
        0.0, help="Share of log(rebalancing weights) added to the tokens: more is more vivid."
    ),
    prior_uniform: float = typer.Option(0.5, help="Lambda of those weights."),
    temperature: float | None = typer.Option(None, help="The model's default of the annealed mean, in (0, 1]."),
    saturation: float = typer.Option(1.0, help="The model's default factor on the colors."),
    half_life: float = typer.Option(1.0, help="The model's default half-life of the smoothing, in seconds."),
    views: int = typer.Option(1, help="How many views of each picture the model sees unless told otherwise."),
    working_size: int = typer.Option(256, help="The model's default short side, in pixels."),
    training_data: str = typer.Option("", help="A note on the data, for the manifest."),
    license: str = typer.Option("Apache-2.0", help="License of the weights, for the manifest."),
    version: str = typer.Option("", help="Version of the weights, for the manifest."),
) -> None:
    try:
        from edgecolor.export.checkpoint import export_checkpoint
    except ImportError as error:
        from edgecolor.errors import MissingDependencyError

        raise MissingDependencyError(f"export needs {error.name}: pip install 'edgecolor[train]'") from error
    manifest = export_checkpoint(
        checkpoint,
        folder,
        prior_shift=prior_shift,
        prior_uniform=prior_uniform,
        temperature=temperature,
        saturation=saturation,
        half_life=half_life,
        views=views,
        working_size=working_size,
        training_data=training_data,
        license=license,
        version=version,
    )
    decode = ["decode.onnx"] if manifest.kind == "tokens" else []
    for name in (f"{manifest.name}.onnx", f"{manifest.name}.safetensors", *decode):
        print(f"wrote {folder / name} ({(folder / name).stat().st_size / 1e6:.1f} MB)")
