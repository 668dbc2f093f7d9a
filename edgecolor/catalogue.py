"""What models there are, whether or not their weights are installed. Plain data: no PyTorch is needed to read it.

The networks themselves are in edgecolor.models.MODELS, under the same names.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    what: str
    millions: float  # of parameters
    config: str  # the file in train/configs that trains it
    published: bool = False  # whether edgecolor import-weights takes its authors' file

    def command(self, name: str) -> str:
        """What trains it, after `edgecolor train train/configs/`."""
        return f"{self.config}.yaml model={name}" if name.endswith("-full") else f"{self.config}.yaml"

    @property
    def ways(self) -> str:
        """Where weights come from, in a word or two."""
        return "import or train" if self.published else "train"


CATALOGUE: dict[str, Entry] = {
    "edge": Entry("MobileNetV2 and color tokens", 2.64, "edge"),
    "ct2-tiny": Entry("CT2, color tokens that attend", 9.5, "ct2-tiny"),
    "ct2-small": Entry("CT2", 37.6, "ct2-small"),
    "ct2-base": Entry("CT2", 149.6, "ct2-base"),
    "ct2-large": Entry("CT2, the paper's size", 408.9, "ct2-large"),
    "ct2-tiny-full": Entry("CT2, a query at every pixel", 11.4, "ct2-tiny"),
    "ct2-small-full": Entry("CT2, a query at every pixel", 45.2, "ct2-small"),
    "ct2-base-full": Entry("CT2, a query at every pixel", 179.9, "ct2-base"),
    "ct2-large-full": Entry("CT2, a query at every pixel", 461.4, "ct2-large"),
    "eccv16": Entry("Zhang 2016, 313 color tokens", 32.2, "eccv16", published=True),
    "colorful": Entry("the same over 326", 32.2, "colorful"),
    "siggraph17": Entry("Zhang 2017, takes hints", 34.2, "siggraph17", published=True),
    "basic-lab": Entry("small CNN, ab by L2", 0.95, "basic-lab"),
    "basic-rgb": Entry("small CNN, RGB by L2", 0.96, "basic-rgb"),
    "lpips-cnn": Entry("small CNN, by perception", 0.95, "lpips-cnn-mobilenet"),
    "coltran": Entry("ColTran, pixel by pixel", 70.7, "coltran-colorizer"),
}


def how_to_get(name: str) -> str | None:
    """The end of a message for a model that is known but not installed; None for an unknown one."""
    if name not in CATALOGUE:
        return None
    entry = CATALOGUE[name]
    if name == "coltran":
        ways = "train its three stages and join them (edgecolor coltran join)"
    else:
        ways = f"edgecolor train train/configs/{entry.command(name)} and edgecolor export"
    if entry.published:
        ways = f"edgecolor import-weights with its authors' .pth, or {ways}"
    return f"its weights are not installed: {ways}, then give the file's path"
