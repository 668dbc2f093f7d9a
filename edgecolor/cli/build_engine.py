"""edgecolor build-engine MODEL: a TensorRT engine for the GPU at hand, or for RTX cards without one."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command(
        name="build-engine",
        help="Build a TensorRT engine of a model (needs TensorRT and its GPU; with --flavor rtx no GPU).",
    )(build_engine)


def build_engine(
    model: str = typer.Argument("edge", help="Name from `edgecolor models`, or an .onnx file."),
    out: Annotated[
        Path | None, typer.Option(help="Copy the engine to this file. Default: it stays in the cache.")
    ] = None,
    precision: str = typer.Option("fp16", help="fp32, fp16, or int8 with --frames."),
    frames: Annotated[list[Path] | None, typer.Option(help="Video or picture to calibrate on; several times.")] = None,
    decode: str = typer.Option("auto", help="The color-token op: plugin, native, auto."),
    flavor: str = typer.Option("tensorrt", help="tensorrt, or rtx for TensorRT-RTX."),
    profile: Annotated[
        list[str] | None, typer.Option(help="NxHxW or MIN:OPT:MAX of what the network sees; several times.")
    ] = None,
    views: int | None = typer.Option(
        None, help="Of each picture in one run, 1 or 2 (mirrored too). Default: the model's; more go around the engine."
    ),
    batch: int = typer.Option(1, help="Pictures at a time, at most, where no profile is given."),
    version_compatible: bool = typer.Option(
        False, "--version-compatible", help="Let later versions of TensorRT run it; slower."
    ),
    level: int | None = typer.Option(None, help="How hard the builder searches, 0 to 5. Default: TensorRT's."),
    workspace: int | None = typer.Option(None, help="Memory that the builder may use, MB. Default: all."),
    save_onnx: Annotated[
        Path | None, typer.Option(help="Write the model at this precision as .onnx instead, and build nothing.")
    ] = None,
    check: bool = typer.Option(True, help="Compare with ONNX Runtime on the frames given, where the GPU is here."),
) -> None:
    try:
        from edgecolor.export import onnx_to_engine as builder
        from edgecolor.export.precision import precision_lines
    except ImportError as error:
        from edgecolor.errors import MissingDependencyError

        raise MissingDependencyError(f"build-engine needs {error.name}: pip install 'edgecolor[tensorrt]'") from error
    from edgecolor.backends import find_model

    options = builder.EngineOptions(
        precision=precision,
        decode=decode,
        flavor=flavor,
        profiles=tuple(builder.parse_profile(text) for text in profile or ()),
        views=views,
        batch=batch,
        version_compatible=version_compatible,
        level=level,
        workspace=workspace,
        frames=tuple(frames or ()),
    )

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    path = find_model(model)
    if save_onnx:
        for line in precision_lines(builder.save_at_precision(path, options, save_onnx, tell)):
            print(line)
        print(f"wrote {save_onnx} ({save_onnx.stat().st_size / 1e6:.1f} MB)")
        return
    report = builder.build_engine(path, options, out, _command(), tell=tell)
    print("\n".join(report.lines))
    if check and options.frames:
        from edgecolor.export.compare_engine import compare_with_onnxruntime

        print(f"compared   {compare_with_onnxruntime(report.path, path, options.frames)}")


def _command() -> str:
    """The line that builds the engine again, as it was typed."""
    arguments = sys.argv[1:] if sys.argv[1:2] == ["build-engine"] else ["build-engine"]
    return shlex.join(["edgecolor", *arguments])
