"""Many pictures through ColTran: several samples of each, every stage kept, the work shared by machines."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecolor.backends.coltran_backend import ColTranBackend, ab_of_painted, coltran_facts
from edgecolor.errors import ConfigError, MediaError, MediaNotFoundError, ModelError
from edgecolor.images import (
    Still,
    check_image_output,
    check_transparency,
    is_image,
    read_image,
    write_image,
    written_name,
)
from edgecolor.pipeline import image_to_lightness
from edgecolor.stages.ab_to_rgb import ab_to_rgb, upsample_ab_to_image


@dataclass(frozen=True)
class SampleConfig:
    mode: str | None = None  # sample, argmax or parallel; None: the model file's
    samples: int = 1  # of each picture
    seed: int | None = None  # of mode sample; None: the model file's
    temperature: float = 1.0  # of mode sample, in (0, 1]; lower keeps to the probable
    batch_size: int = 8  # pictures that are sampled side by side
    skip_batches: int = 0  # batches left to other machines, from the first on
    batches: int | None = None  # batches to do then; None: all that are left

    def __post_init__(self):
        for name, least in (("samples", 1), ("batch_size", 1), ("skip_batches", 0), ("batches", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")

    @property
    def sampling(self) -> dict:
        """For ColTranBackend.paint."""
        given = {"mode": self.mode, "seed": self.seed}
        chosen = {name: value for name, value in given.items() if value is not None}
        return {**chosen, "samples": self.samples, "temperature": self.temperature}


def open_coltran(path: str | os.PathLike, threads: int | None = None) -> ColTranBackend:
    """raises  ModelError (no such file, damaged, no joined ColTran), MissingDependencyError"""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"the model file {path} does not exist: join one by edgecolor coltran join")
    if coltran_facts(path) is None:
        raise ModelError(f"{path} is no joined ColTran: make one by edgecolor coltran join")
    return ColTranBackend(path, threads)


def colorize_samples(
    images: list[np.ndarray], backend: ColTranBackend, config: SampleConfig | None = None
) -> list[list[dict[str, np.ndarray]]]:
    """Every sample of every picture.

    images   (H, W) gray or (H, W, 3) RGB, uint8, each of its own size; of color only the lightness is used
    returns  for each picture, for each sample: stage1, stage2 (side, side, 3), stage3 (full_side, full_side, 3) and
             final (H, W, 3), which has the picture's lightness; uint8 RGB
    raises   ShapeError, ConfigError
    """
    config = config or SampleConfig()
    lightness = [image_to_lightness(image) for image in images]
    painted = [stage.cpu().numpy().astype(np.uint8) for stage in backend.paint(lightness, **config.sampling)]
    results = []
    for i, light in enumerate(lightness):
        samples = []
        for stages in zip(*(stage[i] for stage in painted), strict=True):
            ab = ab_of_painted(stages[2], *stages[2].shape[:2])
            final = ab_to_rgb(light, upsample_ab_to_image(ab, light))
            samples.append(dict(zip(("stage1", "stage2", "stage3", "final"), (*stages, final), strict=True)))
        results.append(samples)
    return results


def find_images(sources: list[Path]) -> list[Path]:
    """Files as given, and those of folders by name. raises MediaNotFoundError, MediaError"""
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found += sorted(path for path in source.iterdir() if path.is_file() and is_image(path))
        elif source.exists():
            found.append(source)
        else:
            raise MediaNotFoundError(f"{source}: no such file or folder")
    if not found:
        raise MediaError(f"{sources[0]} holds no picture: give PNG, JPEG, TIFF, WebP, JPEG 2000 or BMP files")
    names = [written_name(path) for path in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise MediaError(f"several pictures are called {min(twice)}: colorize them into folders of their own")
    return found


def names_of(path: Path, samples: int, kind: str = "final") -> list[str]:
    """One for each sample; those of stages are PNGs, in which small pictures lose nothing."""
    path = Path(written_name(path))
    names = [path.name] if samples == 1 else [f"{path.stem}-{i}{path.suffix}" for i in range(samples)]
    return names if kind == "final" else [f"{name}.png" for name in names]


def colorize_folder(
    sources: list[Path],
    out: Path,
    backend: ColTranBackend,
    config: SampleConfig,
    *,
    stages: bool = False,
    sheet: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Colorize pictures, gray or color, into `out`, which is made if need be.

    stages    write those of every sample too, into folders stage1, stage2, stage3; the result then goes to final
    sheet     write gray, samples and the picture as it came side by side instead of each sample
    progress  called after each batch with the pictures done, and those to do
    returns   the files written
    raises    EdgeColorError of some kind
    """
    paths = find_images(sources)
    first = config.skip_batches * config.batch_size
    last = len(paths) if config.batches is None else min(len(paths), first + config.batches * config.batch_size)
    if first >= last:
        raise ConfigError(f"skip_batches={config.skip_batches} leaves none of the {len(paths)} pictures: skip fewer")
    kinds = ("stage1", "stage2", "stage3", "final") if stages else ("final",)
    folders = {kind: out / kind if stages else out for kind in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for start in range(first, last, config.batch_size):
        batch = paths[start : min(start + config.batch_size, last)]
        for path in batch:
            for kind, folder in folders.items():
                for name in names_of(path, 1 if sheet and kind == "final" else config.samples, kind):
                    check_image_output(folder / name, path, overwrite)
        stills = [read_image(path) for path in batch]
        for path, still in zip(batch, stills, strict=True):
            check_transparency(Path(written_name(path)), still)
        results = colorize_samples([still.rgb for still in stills], backend, config)
        for path, still, samples in zip(batch, stills, results, strict=True):
            written += _write(path, still, samples, folders, sheet)
        if progress:
            progress(start + len(batch) - first, last - first)
    return written


def _write(path: Path, still: Still, samples: list[dict], folders: dict[str, Path], sheet: bool) -> Iterator[Path]:
    for kind, folder in folders.items():
        if kind == "final" and sheet:
            continue
        for name, sample in zip(names_of(path, len(samples), kind), samples, strict=True):
            write_image(folder / name, sample[kind], still if kind == "final" else Still(sample[kind]))
            yield folder / name
    if sheet:
        gray = ab_to_rgb(image_to_lightness(still.rgb), np.zeros((*still.rgb.shape[:2], 2), np.float32))
        row = [gray, *(sample["final"] for sample in samples), still.rgb]
        sheet_path = folders["final"] / written_name(path)
        write_image(sheet_path, np.concatenate(row, axis=1), Still(gray))
        yield sheet_path
