"""Imports point one way, and colorizing needs none of the heavy packages. pytest tests/test_imports.py"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    [*(ROOT / "edgecolor").rglob("*.py"), *(ROOT / "export").rglob("*.py"), *(ROOT / "train").rglob("*.py")]
)
HEAVY = ("torch", "onnx", "onnxscript", "tensorrt", "openvino", "safetensors", "webdataset", "yaml")
# Higher may import lower, never the other way round; parts of one level do not import each other, except within a part.
LEVELS = {
    name: level
    for level, names in enumerate(
        (
            ("frames", "config", "errors", "catalogue", "tiff_file", "deep_picture", "exif"),
            ("color",),
            ("stages", "motion", "manifest", "times"),
            ("chroma_gain", "mood"),
            ("hints", "hint_spread"),
            ("models", "kernels", "plugins", "engines", "gpu"),
            ("memory",),
            ("references",),
            ("hint_field",),
            ("recollection", "look_state"),
            ("smoothing",),
            ("look_ahead",),
            ("pipeline", "video", "backends", "images", "compare", "overlap", "picture_grid"),
            ("colorize", "coltran", "reference_files", "hint_files", "folder"),
            ("bench", "preview"),
            ("train", "export"),
            ("cli",),
        )
    )
    for name in names
}
# They name the type of a backend, for the type checker.
NAMING_BACKENDS = ("pipeline", "smoothing", "look_state", "recollection", "references", "hint_field", "hints")
# The steps sideways that are meant: errors is the floor of everything.
SAME_LEVEL = {("config", "errors"), ("frames", "errors")}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "edgecolor" else ("edgecolor", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else ""


def imports_of(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if top_level_only:
        tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_of(path))
def test_imports_point_one_way(path):
    own = part_of(module_of(path))
    for name in imports_of(path):
        other = part_of(name) if name.split(".")[0] == "edgecolor" else ""
        if not own or not other or other == own or other not in LEVELS:
            continue
        if own in NAMING_BACKENDS and other == "backends":
            continue  # for the type checker only; the test below holds that
        assert LEVELS[other] < LEVELS[own] or (own, other) in SAME_LEVEL, f"{module_of(path)} imports {name}"


def test_every_part_of_the_package_has_a_level():
    assert {part_of(module_of(path)) for path in SOURCES} - {""} <= set(LEVELS)


def test_only_video_imports_av():
    users = {part_of(module_of(path)) for path in SOURCES if any(n.split(".")[0] == "av" for n in imports_of(path))}
    assert users <= {"video", "train"}  # train reads its own data sets


def test_pipeline_never_loads_a_backend():
    code = "import sys, edgecolor.pipeline; sys.exit(any(m.startswith('edgecolor.backends') for m in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runtime_works_where_the_heavy_packages_cannot_be_imported(tmp_path):
    """Colorizing a picture with the default model, with every training package blocked."""
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"blocked {{name}}", name=name)
sys.meta_path.insert(0, Block())
import numpy as np, edgecolor
rgb = edgecolor.colorize_image(np.tile(np.arange(96, dtype=np.uint8), (64, 1)))
assert rgb.shape == (64, 96, 3) and rgb.dtype == np.uint8
from edgecolor.cli import main
main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "colorize" in done.stdout


def test_help_does_not_load_numpy_or_anything_heavy():
    code = (
        "import sys; sys.argv = ['edgecolor', '--help']\n"
        "from edgecolor.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"sys.exit([m for m in ('numpy', 'cv2', 'av', 'onnxruntime', *{HEAVY!r}) if m in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_package_imports_stay_lazy():
    code = "import sys, edgecolor; sys.exit('numpy' in sys.modules or 'cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
