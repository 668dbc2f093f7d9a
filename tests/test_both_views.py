"""Both views of a picture in one graph, and in the engines built of it. pytest tests/test_both_views.py"""

import numpy as np
import onnxruntime
import pytest
from fake_builder import FakeBuilder
from test_backend_tensorrt import Machine

onnx = pytest.importorskip("onnx")

from edgecolor import ColorConfig, Colorizer  # noqa: E402
from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.backends.files import WEIGHTS, read_manifest  # noqa: E402
from edgecolor.backends.views import Views, with_views  # noqa: E402
from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.export.both_views import put_both_views  # noqa: E402
from edgecolor.export.decode_path import rewrite  # noqa: E402
from edgecolor.export.half import to_half  # noqa: E402
from edgecolor.export.onnx_to_engine import EngineOptions, build_engine  # noqa: E402
from edgecolor.stages.frame_to_lightness import image_to_lightness, resize_lightness  # noqa: E402
from edgecolor.stages.logits_to_ab import color_token_decode  # noqa: E402

EDGE = WEIGHTS / "edge.onnx"
N, H0, W0 = 2, 64, 96
H, W = H0 // 4, W0 // 4


@pytest.fixture(scope="module")
def lightness():
    """Two different pictures."""
    from skimage.data import chelsea, coffee

    return np.stack([resize_lightness(image_to_lightness(picture()), H0, W0)[None] for picture in (coffee, chelsea)])


@pytest.fixture(scope="module", params=["edge", "ct2-tiny"])
def bare(request):
    return open_backend(request.param, "onnxruntime", threads=1)


def said_by_hand(bare, lightness):
    """Mean of what the network says of both, and its features of the picture."""
    bare.start(N, H0, W0)
    straight, features = bare.logits(lightness)
    mirrored, _ = bare.logits(np.ascontiguousarray(lightness[..., ::-1]))
    return (straight + mirrored[:, :, ::-1]) / 2, features


def run(model, feed):
    names = [info.name for info in model.graph.output]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feed), strict=True))


def feed_of(bare, lightness, dtype=np.float32):
    rng, cells = np.random.default_rng(), (N, H, W)
    probs = rng.random((*cells, len(bare.centers)), np.float32)
    probs /= probs.sum(-1, keepdims=True)
    feed = {"lightness": lightness, "prev_probs": probs.astype(dtype), "keep": rng.random(cells, np.float32)}
    return feed | {"motion": rng.normal(0, 2, (*cells, 2)).astype(np.float32), "temperature": np.float32([0.3])}


@pytest.mark.parametrize("way", ["as exported", "native"])
def test_the_graph_says_the_mean_of_both_views_and_carries_it_on(bare, lightness, way):
    model = put_both_views(onnx.load(bare.path))
    onnx.checker.check_model(model, full_check=True)
    feed = feed_of(bare, lightness)
    found = run(rewrite(model, "native") if way == "native" else model, feed)
    logits, features = said_by_hand(bare, lightness)
    np.testing.assert_allclose(found["logits"], logits, atol=1e-3)
    np.testing.assert_allclose(found["features"], features, atol=1e-3)
    past = {name: feed[name] for name in ("prev_probs", "motion", "keep")}
    ab, probs = color_token_decode(logits, **past, centers=bare.centers, temperature=feed["temperature"])
    np.testing.assert_allclose(found["probs"], probs, atol=1e-5)
    np.testing.assert_allclose(found["ab"], ab, atol=0.02)


def test_in_float16_it_is_near(bare, lightness):
    model = put_both_views(to_half(onnx.load(bare.path)))
    found = run(model, feed_of(bare, lightness, np.float16))
    logits, _ = said_by_hand(bare, lightness)
    assert found["logits"].dtype == np.float16 and np.abs(found["logits"] - logits).mean() < 0.02


def test_the_model_that_was_given_stays_as_it_is(bare):
    model = onnx.load(bare.path)
    put_both_views(model)
    assert model == onnx.load(bare.path)


def test_other_graphs_are_refused():
    with pytest.raises(ModelError, match="does not hold ColorTokenDecode once, over its logits"):
        put_both_views(onnx.load(WEIGHTS / "basic-lab.onnx"))
    model = onnx.load(EDGE)
    shape = next(node for node in model.graph.node if node.op_type == "Shape" and "prev_probs" in node.input)
    next(attribute for attribute in shape.attribute if attribute.name == "end").i = 2
    with pytest.raises(ModelError, match=r"Shape \(node_Shape_\d+\) reads the state outside of ColorTokenDecode"):
        put_both_views(model)


@pytest.fixture
def built(monkeypatch, tmp_path):
    """An engine of edge, as `build-engine` with these options makes it, on a GPU that is not there."""
    Machine(monkeypatch)
    monkeypatch.setenv("EDGECOLOR_PLUGINS", str(tmp_path))

    def build(model=EDGE, **options):
        options = EngineOptions("fp32", **options)
        return build_engine(model, options, command="edgecolor build-engine x", builder=FakeBuilder(), folder=tmp_path)

    return build


def test_an_engine_sees_in_one_run_what_onnxruntime_sees_in_two(built, lightness):
    report = built()
    assert report.info.views == 2 and "views      2, in one run" in report.lines
    engine, reference = with_views(open_backend(report.path)), with_views(open_backend(EDGE, threads=1))
    assert engine.name == "tensorrt" and not isinstance(engine, Views) and isinstance(reference, Views)
    rng = np.random.default_rng(0)
    for backend in (engine, reference):
        backend.start(1, H0, W0)
    for i in range(4):  # the first ones run plainly, the others as a graph
        keep, motion = rng.random((1, H, W), np.float32), rng.normal(0, 2, (1, H, W, 2)).astype(np.float32)
        found, expected = (each.step(lightness[i % 2 :][:1], keep, motion) for each in (engine, reference))
        np.testing.assert_allclose(found, expected, atol=0.02)
        np.testing.assert_allclose(engine.probs(), reference.probs(), atol=1e-5)
        for one, other in zip(engine.logits(lightness[:1]), reference.logits(lightness[:1]), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_picture_gets_the_same_colors_with_the_engine_as_with_onnxruntime(built):
    from skimage.data import coffee

    config = ColorConfig(working_size=64)
    found, expected = (
        Colorizer(with_views(open_backend(path)), config).image(coffee()[..., 1]) for path in (built().path, EDGE)
    )
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_how_many_views_are_inside_is_the_models_or_the_users_choice(built, tmp_path):
    one = built(views=1)
    assert one.info.views == 1 and not any(line.startswith("views") for line in one.lines)
    assert one.path != built().path and built(views=2).cache == "hit"
    engine = open_backend(one.path)
    assert (
        with_views(engine, 1) is engine and len(with_views(engine).views) == 2 and len(with_views(engine, 4).views) == 4
    )
    assert built(WEIGHTS / "ct2-tiny.onnx").info.views == 1 and built(WEIGHTS / "basic-lab.onnx").info.views == 1
    forced = built(WEIGHTS / "ct2-tiny.onnx", views=2)
    assert forced.info.views == 2 and with_views(open_backend(forced.path)).name == "tensorrt"
    with pytest.raises(ConfigError, match="basic-lab has no color tokens"):
        built(WEIGHTS / "basic-lab.onnx", views=2)
    with pytest.raises(ConfigError, match="--views of an engine is 1 or 2, got 3"):
        EngineOptions(views=3)
    with pytest.raises(ConfigError, match="this engine sees 2 views of each picture: build another one with --views 1"):
        with_views(open_backend(built().path), 1)


def test_the_op_alone_does_not_depend_on_the_views(built):
    assert built(views=1).info.decode == built(views=2).info.decode
    assert read_manifest(EDGE).views == 2
