"""The plugin in the registries of real TensorRT versions; docs/plugin.md says how to run these tests."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_on_cpu import build_plugin_for_cpu

from edgecolor.plugins import find_library

SCRIPT = Path(__file__).with_name("tensorrt_registry.py")
MODULES = ("tensorrt", "tensorrt_lean_bindings", "tensorrt_dispatch_bindings")
here = any(importlib.util.find_spec(name) for name in MODULES)
PYTHONS = [path for path in os.environ.get("EDGECOLOR_TENSORRT_PYTHONS", "").split(os.pathsep) if path]
PYTHONS += [sys.executable] * here

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(not PYTHONS, reason="needs a TensorRT registry: see docs/plugin.md"),
]


@pytest.fixture(scope="module")
def library():
    if os.environ.get("EDGECOLOR_PLUGINS"):  # the one that was built for a GPU
        return find_library()
    return build_plugin_for_cpu()


@pytest.fixture(scope="module", params=PYTHONS)
def found(request, library):
    """What one TensorRT version says about the library."""
    process = subprocess.run(
        [request.param, SCRIPT, library], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_plugin_library_loads_once_and_a_missing_one_does_not(found):
    assert found["missing file"] and found["loaded"] and found["second load"], found


def test_plugin_creator_is_found_under_its_name_version_and_namespace_only(found):
    assert found["creator"] == ["ColorTokenDecode", "1", "edgecolor"] and not found["elsewhere"]
    assert found["fields"] == ["mode"]


def test_plugin_creator_makes_plugins_from_good_fields(found):
    assert all(found["makes"].values()), found
    assert found["plugin"] == ["ColorTokenDecode", "1", "edgecolor", 2] and found["runs"]


def test_plugin_creator_refuses_bad_fields(found):
    assert all(found["refuses"].values()), found
