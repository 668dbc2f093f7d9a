"""edgecolor build-plugins: what it needs, what it says is missing, and one real build where a CUDA compiler is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgecolor import plugins
from edgecolor.errors import ConfigError, MissingDependencyError
from edgecolor.kernels import load_kernels


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An environment without headers, with empty programs named cmake and nvcc."""
    for name in ("EDGECOLOR_TRT_INCLUDE", "TensorRT_ROOT", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(plugins, "find_headers", lambda given: given)
    for tool in ("cmake", "nvcc"):
        (tmp_path / "bin" / tool).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "bin" / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def headers(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "NvInferRuntime.h").touch()
    (folder / "NvInferVersion.h").write_text(text)
    return folder


@pytest.mark.parametrize("tool", ("cmake", "nvcc"))
def test_build_plugins_says_which_tool_is_missing(bare, monkeypatch, tool):
    (bare / "bin" / tool).unlink()
    monkeypatch.setenv("CUDA_HOME", str(bare))
    with pytest.raises(MissingDependencyError, match=rf"^{tool} is not on PATH"):
        plugins.build(bare / "out")


def test_build_plugins_says_that_headers_are_missing_and_how_to_do_without(bare):
    with pytest.raises(MissingDependencyError, match="--include or --headers-tag, or --kernels-only"):
        plugins.build(bare / "out")


def test_build_plugins_refuses_a_folder_without_headers(tmp_path):
    with pytest.raises(ConfigError, match="no NvInferRuntime.h"):
        plugins.find_headers(tmp_path)


@pytest.mark.parametrize(
    ("text", "version"),
    (
        ("#define NV_TENSORRT_MAJOR 10 //!< major\n#define NV_TENSORRT_MINOR 3\n", (10, 3)),
        ("#define TRT_MAJOR_ENTERPRISE 11\n#define TRT_MINOR_ENTERPRISE 1\n"
         "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n", (11, 1)),
    ),
)  # fmt: skip
def test_version_of_headers_reads_both_ways_of_writing_it(tmp_path, text, version):
    assert plugins.version_of_headers(headers(tmp_path / "include", text)) == version


@pytest.mark.parametrize(
    "text", ("#define NV_TENSORRT_MAJOR 10\n#define NV_TENSORRT_MINOR 2\n", "", "#define OTHER 1\n")
)
def test_build_plugins_refuses_headers_that_are_too_old_or_unknown(bare, text):
    with pytest.raises(MissingDependencyError, match="10.3"):
        plugins.build(bare / "out", include=headers(bare / "include", text))


def test_build_plugins_reports_the_compilers_own_words(bare):
    (bare / "bin" / "cmake").write_text("#!/bin/sh\necho working\necho 'kernel.cu(3): error: no such thing'\nexit 1\n")
    with pytest.raises(ConfigError, match=r"kernel.cu\(3\): error: no such thing .*build.log"):
        plugins.build(bare / "out", kernels_only=True)


def test_find_library_looks_where_build_plugins_puts_it(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGECOLOR_PLUGINS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert plugins.find_library() is None
    plugins.default_folder().mkdir(parents=True)
    (plugins.default_folder() / plugins.PLUGIN).touch()
    assert plugins.find_library() == plugins.default_folder() / plugins.PLUGIN
    monkeypatch.setenv("EDGECOLOR_PLUGINS", str(tmp_path))
    assert plugins.find_library() is None


def test_kernels_that_are_not_ours_are_refused(tmp_path):
    (tmp_path / "junk.so").write_bytes(b"junk")
    for path in (tmp_path / "junk.so", tmp_path / "missing.so"):
        with pytest.raises(MissingDependencyError, match="build-plugins"):
            load_kernels(path)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("nvcc") and shutil.which("cmake")), reason="needs nvcc and CMake")
def test_build_plugins_builds_libraries_that_load_without_spilling_registers(tmp_path):
    include = os.environ.get("EDGECOLOR_TRT_INCLUDE")
    built = plugins.build(tmp_path, include=include and Path(include), architectures="90", kernels_only=not include)
    assert [path.name for path in built] == [plugins.KERNELS, plugins.PLUGIN][: 1 + bool(include)]
    for path in built:
        assert load_kernels(path)
        symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
        assert "edgecolorColorTokenDecode" in symbols and " U cudaMalloc" not in symbols
