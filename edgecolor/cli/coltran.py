"""edgecolor coltran: join ColTran's trained stages, sample pictures, judge a stage, export what runs in one pass."""

import json
from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
JOINED = "A .safetensors file that `edgecolor coltran join` wrote."


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="coltran", help="ColTran, which paints pixel by pixel: join, sample, bits, export.")


@app.command(help="Make one model file of three checkpoints; it colorizes by `edgecolor colorize --model FILE`.")
def join(
    colorizer: Path = typer.Argument(help="checkpoint.pt of a colorizer."),
    color_upsampler: Path = typer.Argument(help="checkpoint.pt of a color upsampler."),
    spatial_upsampler: Path = typer.Argument(help="checkpoint.pt of a spatial upsampler."),
    out: Path = typer.Argument(help="File to write, such as coltran.safetensors."),
    mode: str = typer.Option("sample", help="How it samples unless told otherwise: sample, argmax, parallel."),
    seed: int = typer.Option(0, min=0, help="Seed of mode sample unless told otherwise."),
    training_data: str = typer.Option("", help="A note on the data, for the manifest."),
    license: str = typer.Option("Apache-2.0", help="License of the weights, for the manifest."),
    version: str = typer.Option("", help="Version of the weights, for the manifest."),
) -> None:
    from edgecolor.cli.training import import_torch

    import_torch()
    from edgecolor.export.coltran import join_stages, save_coltran

    checkpoints = (colorizer, color_upsampler, spatial_upsampler)
    model = join_stages(dict(zip(("colorizer", "color-upsampler", "spatial-upsampler"), checkpoints, strict=True)))
    save_coltran(
        model, out, mode=mode, seed=seed, training_data=training_data, license=license, version=version
    )  # fmt: skip
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


@app.command(help="Colorize pictures, or recolorize color ones: several samples of each, every stage on request.")
def sample(
    model: Path = typer.Argument(help=JOINED),
    images: list[Path] = typer.Argument(help="Pictures and folders of them; of color only the lightness is used."),
    out: Path = typer.Option(..., help="Folder to write to; made if need be."),
    mode: str | None = typer.Option(None, help="sample, argmax or parallel. Default: the model file's."),
    samples: int = typer.Option(1, min=1, help="Samples of each picture."),
    seed: int | None = typer.Option(None, min=0, help="The same seed brings the same colors. Default: the file's."),
    temperature: float = typer.Option(1.0, help="Of mode sample, in (0, 1]: lower keeps to the probable."),
    batch_size: int = typer.Option(8, min=1, help="Pictures sampled side by side."),
    skip_batches: int = typer.Option(0, min=0, help="Batches to leave to other machines, from the first on."),
    batches: int | None = typer.Option(None, min=1, help="Batches to do then. Default: all that are left."),
    stages: bool = typer.Option(False, "--stages", help="Write stage1, stage2, stage3 and final."),
    sheet: bool = typer.Option(False, "--sheet", help="Write gray, samples and the picture itself side by side."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that exist."),
    threads: int | None = typer.Option(None, min=1, help="Threads of the network. Default: all cores."),
    quiet: bool = typer.Option(False, "--quiet", help="Print errors only."),
) -> None:
    from edgecolor.coltran import SampleConfig, colorize_folder, open_coltran

    config = SampleConfig(mode, samples, seed, temperature, batch_size, skip_batches, batches)

    def progress(done: int, total: int) -> None:
        if not quiet:
            print(f"{done} of {total} pictures", flush=True)

    colorize_folder(
        images, out, open_coltran(model, threads), config, stages=stages, sheet=sheet, overwrite=overwrite,
        progress=progress,
    )  # fmt: skip


@app.command(help="Bits per dimension of a trained stage, given all colors before each.")
def bits(
    checkpoint: Path = typer.Argument(help="checkpoint.pt of a stage."),
    data: Path = typer.Argument(help="Pictures: a file, a folder, a .tar."),
    limit: int | None = typer.Option(None, min=1, help="Of the first so many pictures."),
) -> None:
    from edgecolor.cli.training import import_torch

    import_torch()
    from edgecolor.train.coltran_bits import bits_per_dim, stage_of_checkpoint

    print(json.dumps(bits_per_dim(stage_of_checkpoint(checkpoint), data, limit)))


@app.command(help="Write the parallel head and the two upsamplers of a joined model as .onnx files.")
def export(
    model: Path = typer.Argument(help=JOINED),
    folder: Path = typer.Argument(help="Where to write; made if need be."),
) -> None:
    try:
        from edgecolor.export.coltran import export_parts
    except ImportError as error:
        from edgecolor.errors import MissingDependencyError

        raise MissingDependencyError(f"export needs {error.name}: pip install 'edgecolor[train]'") from error
    for path in export_parts(model, folder):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
