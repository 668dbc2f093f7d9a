"""edgecolor models: the model files that come with the package, and the models that files can be got or made for."""

import typer


def register(app: typer.Typer) -> None:
    app.command(help="List the models: those that are installed, and how to get the others.")(models)


def models() -> None:
    from rich.console import Console
    from rich.table import Table

    from edgecolor.backends import DEFAULT_MODEL, read_manifest, shipped_models
    from edgecolor.catalogue import CATALOGUE

    console = Console()
    table = Table("name", "kind", "palette", "working size", "MB", "version", "license", box=None, pad_edge=False)
    for path in shipped_models():
        manifest = read_manifest(path)
        name = f"{path.stem} (default)" if path.stem == DEFAULT_MODEL else path.stem
        size = f"{path.stat().st_size / 1e6:.1f}"
        row = (name, manifest.kind, manifest.palette, str(manifest.working_size), size, manifest.version)
        table.add_row(*row, manifest.license)
    console.print(table)
    installed = {path.stem for path in shipped_models()}
    others = {name: entry for name, entry in CATALOGUE.items() if name not in installed}
    if not others:
        return
    table = Table("not installed", "what", "M parameters", "weights", box=None, pad_edge=False)
    table.add_column("config", no_wrap=True)
    for name, entry in others.items():
        table.add_row(name, entry.what, f"{entry.millions:g}", entry.ways, f"{entry.config}.yaml")
    console.print()
    console.print(table)
    console.print("import: edgecolor import-weights FILE.pth; see docs/models.md")
    console.print("train: edgecolor train train/configs/CONFIG; the -full ones with model=NAME")
