"""edgecolor models: the model files that come with the package."""

import typer


def register(app: typer.Typer) -> None:
    app.command(help="List the models that are installed.")(models)


def models() -> None:
    from rich.console import Console
    from rich.table import Table

    from edgecolor.backends import DEFAULT_MODEL, read_manifest, shipped_models

    table = Table("name", "kind", "palette", "working size", "MB", "version", "license", box=None, pad_edge=False)
    for path in shipped_models():
        manifest = read_manifest(path)
        name = f"{path.stem} (default)" if path.stem == DEFAULT_MODEL else path.stem
        size = f"{path.stat().st_size / 1e6:.1f}"
        row = (name, manifest.kind, manifest.palette, str(manifest.working_size), size, manifest.version)
        table.add_row(*row, manifest.license)
    Console().print(table)
