"""TensorRT-RTX's real parser and builder, which need no GPU, on every token model and family; see docs/tensorrt.md."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_on_cpu import build_plugin_for_cpu

onnx = pytest.importorskip("onnx")

from edgecolor.backends.files import WEIGHTS, read_manifest, shipped_models  # noqa: E402
from edgecolor.color.tokens import palette  # noqa: E402
from edgecolor.errors import EdgeColorError  # noqa: E402
from edgecolor.export.both_views import put_both_views  # noqa: E402
from edgecolor.export.decode_path import keep_outputs, rewrite  # noqa: E402
from edgecolor.export.frames import inputs_of  # noqa: E402
from edgecolor.export.half import fold_casts, to_half  # noqa: E402
from edgecolor.export.int8 import quantizable, to_int8  # noqa: E402
from edgecolor.export.onnx_to_engine import OUTPUTS  # noqa: E402
from edgecolor.plugins import find_library  # noqa: E402

SCRIPT = Path(__file__).with_name("tensorrt_rtx_build.py")
here = any(importlib.util.find_spec(name) for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"))
PYTHON = os.environ.get("EDGECOLOR_RTX_PYTHON") or (sys.executable if here else "")
TOKEN_MODELS = [path for path in shipped_models() if read_manifest(path).kind == "tokens"]

pytestmark = [
    pytest.mark.rtx,
    pytest.mark.skipif(
        not PYTHON, reason="needs TensorRT-RTX: make rtx-check installs it in an environment of its own"
    ),
]


def call(*arguments):
    environment = {**os.environ, "PYTHONPATH": ""}
    return subprocess.run([PYTHON, SCRIPT, *map(str, arguments)], capture_output=True, text=True, env=environment)


def shapes_of(manifest, tokens=313):
    shapes = {}
    for n, h0, w0 in ((1, 64, 64), (1, 96, 128), (2, 128, 192)):
        feed = inputs_of(np.zeros((n, 1, h0, w0), np.float32), manifest)
        feed["logits"], feed["centers"] = feed.get("prev_probs", np.zeros(0)), np.zeros((tokens, 2))
        for name, array in feed.items():
            shapes.setdefault(name, []).append(array.shape)
    return shapes


def calibration(manifest):
    return [inputs_of(np.random.default_rng(0).uniform(0, 100, (1, 1, 64, 64)).astype(np.float32), manifest)]


def at_precision(model, manifest, precision):
    if precision == "int8":
        folded = onnx.ModelProto()
        folded.CopyFrom(model)
        fold_casts(folded)
        order = [node.name for node in quantizable(folded)]
        return to_int8(model, lambda: calibration(manifest), limit=1e9, order=order)[0]
    return to_half(model) if precision == "fp16" else model


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("path", TOKEN_MODELS, ids=lambda path: path.stem)
def test_every_token_model_is_parsed_and_built_by_the_native_path(path, precision, views, tmp_path):
    manifest = read_manifest(path)
    model = at_precision(onnx.load(path), manifest, precision)
    keep_outputs(model, OUTPUTS)
    model = put_both_views(model) if views == 2 else model
    onnx.save(rewrite(model, "native"), tmp_path / "model.onnx")
    (tmp_path / "shapes.json").write_text(json.dumps(shapes_of(manifest)))
    done = call("build", tmp_path / "model.onnx", tmp_path / "shapes.json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    state = "DataType.HALF" if precision == "fp16" else "DataType.FLOAT"
    assert found["bytes"] > 100_000
    assert found["tensors"]["probs"] == [[-1, -1, -1, 313], state] == found["tensors"]["prev_probs"]
    assert found["tensors"]["ab"] == [[-1, 2, -1, -1], "DataType.FLOAT"]


FULL_SIZE = (  # the others are shipped
    "eccv16", "colorful", "ct2-small", "ct2-base", "ct2-large",
    "ct2-tiny-full", "ct2-small-full", "ct2-base-full", "ct2-large-full",
)  # fmt: skip
ZOO = ("ct2-tiny", "ct2-tiny-full", "eccv16", "colorful", "basic-lab", "siggraph17")


def exported(name, model, folder):
    from edgecolor.export.torch_to_onnx import export_onnx
    from edgecolor.models import manifest_of

    export_onnx(model, manifest_of(name, model), folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


@pytest.fixture(scope="module", params=ZOO)
def zoo_model(request, tmp_path_factory):
    """A small twin of each family, exported as its full size would be."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from zoo import TWINS, busy

    return exported(request.param, busy(TWINS[request.param]()), tmp_path_factory.mktemp("zoo"))


def build_natively(path, precision, folder):
    """Size of the engine in bytes."""
    manifest = read_manifest(path)
    model = at_precision(onnx.load(path), manifest, precision)
    keep_outputs(model, OUTPUTS if manifest.kind == "tokens" else ("ab",))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(rewrite(model, "native"), folder / "model.onnx")
    del model
    (folder / "shapes.json").write_text(json.dumps(shapes_of(manifest, len(palette_of(manifest)))))
    done = call("build", folder / "model.onnx", folder / "shapes.json")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])["bytes"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_family_of_the_zoo_is_parsed_and_built_by_the_native_path(zoo_model, precision, tmp_path):
    assert build_natively(zoo_model, precision, tmp_path) > 10_000


@pytest.fixture(scope="module", params=FULL_SIZE)
def full_model(request, tmp_path_factory):
    """A model at the published size, with random weights."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from zoo import busy

    from edgecolor.models import build_model

    return exported(request.param, busy(build_model(request.param)), tmp_path_factory.mktemp("full"))


@pytest.mark.slow
@pytest.mark.skipif("EDGECOLOR_LONG_TESTS" not in os.environ, reason="takes half an hour: set EDGECOLOR_LONG_TESTS=1")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_token_model_is_parsed_and_built_at_its_full_size(full_model, precision, tmp_path):
    # Of the weights, int8 leaves the least: a byte for most of them.
    assert build_natively(full_model, precision, tmp_path) > full_model.stat().st_size / 3


def palette_of(manifest):
    return palette(manifest.palette).centers if manifest.kind == "tokens" else ()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_op_alone_is_parsed_and_built_by_the_native_path(precision, tmp_path):
    manifest = read_manifest(WEIGHTS / "decode.onnx")
    model = onnx.load(WEIGHTS / "decode.onnx")
    onnx.save(rewrite(to_half(model) if precision == "fp16" else model, "native"), tmp_path / "model.onnx")
    (tmp_path / "shapes.json").write_text(json.dumps(shapes_of(manifest)))
    done = call("build", tmp_path / "model.onnx", tmp_path / "shapes.json")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["bytes"] > 10_000, done.stderr


@pytest.fixture(scope="module")
def library():
    try:
        return find_library() if os.environ.get("EDGECOLOR_PLUGINS") else build_plugin_for_cpu()
    except EdgeColorError as error:
        pytest.skip(str(error))


def test_the_parser_finds_the_plugin_and_hands_it_the_fields_of_the_node(library, tmp_path):
    """TensorRT-RTX looks the creator up and calls it, and ends the process only then: it has no layer for a plugin."""
    onnx.save(rewrite(onnx.load(WEIGHTS / "edge.onnx"), "plugin"), tmp_path / "model.onnx")
    done = call("dispatch", tmp_path / "model.onnx", library)
    said = done.stdout + done.stderr
    assert "Successfully created plugin: ColorTokenDecode" in said, said[-2000:]
    assert done.returncode < 0  # by a signal, where a plugin that is missing is a parser's error


def test_the_value_of_the_node_reaches_the_plugin_which_refuses_a_mode_that_it_does_not_have(library, tmp_path):
    model = rewrite(onnx.load(WEIGHTS / "edge.onnx"), "plugin")
    (node,) = (node for node in model.graph.node if node.op_type == "ColorTokenDecode")
    (mode,) = (attribute for attribute in node.attribute if attribute.name == "mode")
    for value in (1, 7):
        mode.i = value
        onnx.save(model, tmp_path / f"{value}.onnx")
    good, bad = (call("dispatch", tmp_path / f"{value}.onnx", library) for value in (1, 7))
    assert "Successfully created plugin: ColorTokenDecode" in good.stdout + good.stderr
    assert "Successfully created plugin" not in bad.stdout + bad.stderr
    assert "attribute mode must be 0" in bad.stderr and "Could not create the plugin" in bad.stderr


def test_a_missing_plugin_is_a_parsers_error_and_no_other_path_is_taken(tmp_path):
    onnx.save(rewrite(onnx.load(WEIGHTS / "edge.onnx"), "plugin"), tmp_path / "model.onnx")
    (tmp_path / "shapes.json").write_text("{}")
    done = call("build", tmp_path / "model.onnx", tmp_path / "shapes.json")
    assert done.returncode == 1 and "not parsed" in done.stderr and "Plugin not found" in done.stderr


def test_build_engine_makes_an_engine_for_rtx_cards_on_a_machine_without_a_gpu(tmp_path):
    """The command itself, with the real builder; and the second time it is found."""
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([PYTHON, "-c", purelib], capture_output=True, text=True, check=True).stdout.strip()
    code = f"import sys; sys.path.append({found!r}); from edgecolor.cli import main; main()"
    command = [sys.executable, "-c", code, "build-engine", "edge", "--flavor", "rtx", "--profile", "1x64x96"]
    command += ["--out", str(tmp_path / "edge.engine")]
    environment = {**os.environ, "EDGECOLOR_ENGINES": str(tmp_path / "cache")}
    for state in ("miss", "hit"):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert f"cache      {state}" in done.stdout and "decode     native: TensorRT-RTX has no plugins" in done.stdout
    info = json.loads((tmp_path / "edge.engine.json").read_text())
    assert info["report"]["layers"]["CONVOLUTION"] == 64 and info["key"]["flavor"] == "rtx"
    assert (tmp_path / "edge.engine").stat().st_size == info["report"]["bytes"] > 1_000_000
    assert (tmp_path / info["decode"]).is_file()
