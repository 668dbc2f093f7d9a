"""edgecolor fit-tokens DATA: a data set's prior, rebalancing weights and palette, as files and as pictures."""

from pathlib import Path
from typing import Annotated

import typer

DATA = "Folders of pictures, .tar shards or patterns of them, clips; or one training config (.yaml) for its data."


def register(app: typer.Typer) -> None:
    app.command("fit-tokens", help="Compute a data set's token prior, rebalancing weights and in-gamut palette.")(
        fit_tokens
    )


def fit_tokens(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help=DATA)],
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("tokens"),
    palette: str = typer.Option("ab313", help="ab313 or ab326."),
    uniform: float = typer.Option(0.5, help="Lambda in [0, 1] of the rebalancing; 1 turns it off."),
    neighbours: int = typer.Option(5, min=1, max=32, help="Bins that a color is spread over."),
    sigma: float = typer.Option(5.0, help="Width of that spread, in ab units."),
    crops: int = typer.Option(4000, min=1, help="Random crops to count."),
    seed: int = typer.Option(0, min=0, help="Of the crops."),
) -> None:
    from edgecolor.cli.training import import_torch

    import_torch()
    from edgecolor.train.fit_tokens import fit, write_fit
    from edgecolor.train.report import json_line

    fitted = fit(data, palette, uniform, neighbours, sigma, crops, seed)
    for path in write_fit(fitted, out):
        print(f"wrote {path}")
    print(json_line(fitted.summary()))
