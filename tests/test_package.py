"""The wheel, installed elsewhere and run outside the clone. pytest tests/test_package.py"""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("edgecolor-*.whl"))


def test_the_wheel_runs_outside_the_clone_with_every_command(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python3*/site-packages"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    assert subprocess.run(install, capture_output=True).returncode == 0
    # The dependencies are lent by the environment that runs the tests; edgecolor itself must come from the wheel.
    import numpy

    (site / "lent.pth").write_text(str(Path(numpy.__file__).parent.parent))
    code = (
        "import edgecolor, edgecolor.export, edgecolor.train, numpy as np\n"
        "print(edgecolor.__file__)\n"
        "print(edgecolor.colorize_image(np.zeros((40, 60), np.uint8)).shape)\n"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, shape = done.stdout.split("\n")[:2]
    assert where.startswith(str(site)) and shape == "(40, 60, 3)"
    # `edgecolor build-plugins` finds every source of the two libraries in what was installed.
    found = [python, "-c", "from edgecolor.plugins import find_sources; print(find_sources())"]
    sources = Path(subprocess.run(found, capture_output=True, text=True, cwd=tmp_path).stdout.strip())
    assert sources.is_relative_to(site)
    for source in (ROOT / "cpp_plugins").glob("[!t]*/*.*"):
        assert (sources / source.relative_to(ROOT / "cpp_plugins")).read_bytes() == source.read_bytes()
    helped = subprocess.run([tmp_path / "venv" / "bin" / "edgecolor", "--help"], capture_output=True, text=True)
    for command in ("colorize", "models", "doctor", "train", "evaluate", "export"):
        assert command in helped.stdout


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_supported_python_has_exact_versions_within_the_ranges_of_setup(python):
    lists = re.findall(r"^(?:RUNTIME|OPENVINO|TRAIN|DEV) = (\[.*?\])$", (ROOT / "setup.py").read_text(), re.M | re.S)
    wanted = [Requirement(text) for found in lists for text in re.findall(r'"([^"]+)"', found)]
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "tests" / "constraints" / f"py{python.replace('.', '')}.txt").read_text().split()
    )
    assert len(wanted) > 15
    for requirement in wanted:
        if requirement.name != "setuptools":  # comes with the build, whose range is in pyproject.toml
            assert Version(pins[requirement.name]) in requirement.specifier, requirement
