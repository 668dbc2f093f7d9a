"""edgecolor build-plugins: compile the CUDA kernels and the TensorRT plugin for the GPUs at hand."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command(
        name="build-plugins",
        help="Compile the CUDA kernels and the TensorRT plugin (needs CMake, the CUDA toolkit and TensorRT's headers).",
    )(build_plugins)


def build_plugins(
    out: Annotated[Path | None, typer.Option(help="Folder of the libraries; default: the user's cache.")] = None,
    source: Annotated[Path | None, typer.Option(help="Folder cpp_plugins of the repository.")] = None,
    include: Annotated[Path | None, typer.Option(help="Folder with NvInferRuntime.h.")] = None,
    headers_tag: str | None = typer.Option(
        None, help="Download TensorRT's headers of this tag, such as v10.3.0, where none are found."
    ),
    architectures: str | None = typer.Option(
        None, help='GPUs to compile for: "native", or numbers such as "87;90". Default: all.'
    ),
    kernels_only: bool = typer.Option(False, "--kernels-only", help="Leave the TensorRT plugin out."),
) -> None:
    from edgecolor.plugins import build, default_folder

    for library in build(out or default_folder(), source, include, headers_tag, architectures, kernels_only):
        print(f"{library} ({library.stat().st_size / 2**20:.1f} MB)")
