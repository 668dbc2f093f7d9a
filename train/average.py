"""Take the weights between two checkpoints, where the second was trained on from the first.

What fine-tuning gains is mostly kept half-way, and what it spoils is not: pictures are calmer than the second's.

    python -m edgecolor.train.average runs/edge-3/checkpoint.pt runs/edge-4/checkpoint.pt runs/edge-5/checkpoint.pt

source  Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022
"""

from pathlib import Path

from edgecolor.errors import ConfigError, EdgeColorError, ModelError
from edgecolor.train.checkpoint import differences, first_of, load_checkpoint, save_checkpoint


def average(first: Path, second: Path, share: float) -> dict:
    """The second checkpoint with (1 - share) of the first's averaged weights and `share` of its own; to be exported, or
    trained on as `init`, not resumed.

    raises  ConfigError (share outside [0, 1]), ModelError (no checkpoint, or of another model)
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share must lie in [0, 1], got {share:g}")
    before, after = load_checkpoint(first), load_checkpoint(second)
    if wrong := differences(after["ema"], before["ema"]):
        raise ModelError(f"{first} and {second} are of two models (the first has {first_of(wrong)}): give two of one")
    between = {
        name: before["ema"][name].lerp(value, share) if value.is_floating_point() else value
        for name, value in after["ema"].items()
    }
    return after | {"ema": between, "model": between}


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("first", "second", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second one, in [0, 1]")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists: choose another name")
    try:
        save_checkpoint(options.out, average(options.first, options.second, options.share))
    except EdgeColorError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
