"""edgecolor train CONFIG: train a model, or look at what it would be trained on."""

import sys
from pathlib import Path
from typing import Annotated

import typer

OVERRIDES = "Changes to the config, such as optim.lr=1e-3 or losses.0.weight=2; the value is YAML."
HELP = "Train or fine-tune a model from a YAML config; on several GPUs: torchrun --no-python edgecolor train ..."
PREVIEW = "Write a contact sheet (.png, .jpg) of crops and old-film effects, and do not train."


def register(app: typer.Typer) -> None:
    app.command(help=HELP)(train)


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, such as train/configs/edge.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help=OVERRIDES)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the checkpoint and logs. Default: runs/CONFIG.")] = None,
    resume: bool = typer.Option(False, "--resume", help="Go on from the folder's checkpoint."),
    max_minutes: float | None = typer.Option(None, min=0, help="Stop after so long, with a checkpoint."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N."),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network on the processor."),
    preview: Annotated[Path | None, typer.Option(help=PREVIEW)] = None,
    quiet: bool = typer.Option(False, "--quiet", help="No progress bar and no log lines."),
) -> None:
    from edgecolor.cli.training import import_torch

    import_torch()
    from edgecolor.errors import ConfigError
    from edgecolor.models import check_name
    from edgecolor.train.config import load_config, to_yaml

    run = load_config(config, overrides or [])
    check_name(run.model)
    if preview:
        from edgecolor.train.preview import write_preview

        write_preview(run, preview)
        print(f"wrote {preview}")
        return
    folder = out or Path("runs") / config.stem
    if (folder / "checkpoint.pt").exists() and not resume:
        raise ConfigError(f"{folder} holds a checkpoint: add --resume to go on from it, or choose another --out")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: choose another --out")

    from edgecolor.train.distributed import speaks
    from edgecolor.train.run import train_run

    if not quiet and speaks():
        print(f"# {config} as it is run\n{to_yaml(run)}", file=sys.stderr)
    done = train_run(run, folder, device, resume=resume, max_minutes=max_minutes, threads=threads, quiet=quiet)
    if done and not quiet:
        print(done)
