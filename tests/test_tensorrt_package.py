"""The package tensorrt: missing, too old, broken, or one of the small ones that only run engines."""

import sys

import pytest

from edgecolor.backends.tensorrt_engine import MODULES, import_tensorrt
from edgecolor.errors import MissingDependencyError


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Call it with a package's name and source; no other TensorRT is found then."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in sum(MODULES.values(), ()):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def install(name, source):
        (tmp_path / f"{name}.py").write_text(source)

    yield install
    for name in sum(MODULES.values(), ()):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("flavor", "words"),
    [
        ("tensorrt", "tensorrt is not installed: pip install tensorrt, on a Jetson"),
        ("rtx", "tensorrt_rtx is not installed: pip install tensorrt-rtx"),
    ],
)
def test_a_missing_tensorrt_is_named_with_the_command_that_installs_it(installed, flavor, words):
    with pytest.raises(MissingDependencyError, match=words):
        import_tensorrt(flavor)


@pytest.mark.parametrize(
    ("version", "is_taken"), [("8.6.2", False), ("10.2.0.19", False), ("10.3.0.26", True), ("11.4.0.106", True)]
)
def test_tensorrt_before_10_3_is_refused(installed, version, is_taken):
    installed("tensorrt", f"__version__ = {version!r}")
    if is_taken:
        assert import_tensorrt("tensorrt").__version__ == version
        return
    with pytest.raises(MissingDependencyError, match=f"TensorRT {version} is too old, 10.3 is the oldest"):
        import_tensorrt("tensorrt")


@pytest.mark.parametrize(
    "source",
    [
        "raise ImportError('libnvonnxparser.so.11: no such file')",
        "raise OSError('libnvinfer.so.11: no such file')",
        "import tensorrt_libs_x",
    ],
)
def test_a_tensorrt_that_does_not_load_says_why(installed, source):
    installed("tensorrt", source)
    with pytest.raises(MissingDependencyError, match="tensorrt does not load .*(libnv|tensorrt_libs_x)"):
        import_tensorrt("tensorrt")


def test_the_packages_that_only_run_engines_do_for_version_compatible_ones(installed):
    installed("tensorrt_lean", "__version__ = '11.4.0'")
    with pytest.raises(MissingDependencyError, match="tensorrt is not installed"):
        import_tensorrt("tensorrt")
    assert import_tensorrt("tensorrt", version_compatible=True).__name__ == "tensorrt_lean"


def test_rtx_is_found_under_both_of_its_names_and_has_versions_of_its_own(installed):
    installed("tensorrt_rtx_bindings", "__version__ = '1.7.1.116'")
    assert import_tensorrt("rtx").__version__ == "1.7.1.116"
