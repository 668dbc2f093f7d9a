"""edgecolor teach-encoder CONFIG: what a vision transformer should know before it learns to color."""

from pathlib import Path
from typing import Annotated

import typer

HELP = "Teach a vision transformer what a trained model knows of each patch, for init_encoder of a training config."


def register(app: typer.Typer) -> None:
    app.command("teach-encoder", help=HELP)(teach_encoder)


def teach_encoder(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Such as train/configs/ct2-tiny-encoder.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="As for train.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: runs/CONFIG/encoder.safetensors.")] = None,
    max_minutes: float | None = typer.Option(None, min=0, help="Stop after so long."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network on the processor."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace OUT if it exists."),
    quiet: bool = typer.Option(False, "--quiet", help="No progress bar and no log lines."),
) -> None:
    from edgecolor.cli.training import import_torch

    import_torch()
    from edgecolor.errors import ConfigError
    from edgecolor.train.config import load_config

    run = load_config(config, overrides or [])
    out = out or Path("runs") / config.stem / "encoder.safetensors"
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists: choose another --out, or add --overwrite")

    from edgecolor.train.distributed import pick_device
    from edgecolor.train.teach_encoder import teach_encoder

    done = teach_encoder(run, out, pick_device(device), max_minutes=max_minutes, threads=threads, quiet=quiet)
    if not quiet:
        print(done)
