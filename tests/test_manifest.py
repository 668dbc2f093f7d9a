"""The manifest: what is written is read back, and nothing that cannot be right is believed."""

import json

import pytest

from edgecolor.errors import ModelError
from edgecolor.manifest import KEY, Manifest, weights_sha256

FULL = Manifest(
    "edge", palette="ab326", working_size=320, temperature=0.3, saturation=0.85, prior_shift=0.4, prior_uniform=0.2,
    training_data="photographs", license="Apache-2.0", version="0.1.0", weights_sha256="0" * 64,
)  # fmt: skip


@pytest.mark.parametrize("manifest", [FULL, Manifest("basic-lab", kind="regression", palette="")])
def test_a_manifest_survives_its_metadata(manifest):
    metadata = manifest.to_metadata()
    assert all(type(key) is str and type(value) is str for key, value in metadata.items())
    assert Manifest.from_metadata(metadata, "x.onnx") == manifest


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""), ("kind", "classes"), ("palette", "ab314"), ("palette", ""), ("stride", 0), ("stride", "4"),
        ("multiple", 30), ("working_size", 16), ("temperature", 0.0), ("temperature", 1.01), ("temperature", "warm"),
        ("temperature", float("nan")), ("saturation", -1.0), ("half_life", -1.0), ("half_life", float("inf")),
        ("prior_uniform", 2.0), ("prior_shift", 1e3), ("weights_sha256", "abc"), ("format", 2), ("license", None),
        ("stride", True),
    ],
)  # fmt: skip
def test_a_manifest_with_an_impossible_value_is_refused_in_one_line_that_names_file_and_field(field, value):
    plain = json.loads(FULL.to_metadata()[KEY]) | {field: value}
    with pytest.raises(ModelError) as caught:
        Manifest.from_metadata({KEY: json.dumps(plain)}, "x.onnx")
    assert str(caught.value).startswith("x.onnx: ") and field in str(caught.value) and "\n" not in str(caught.value)


def test_metadata_without_a_manifest_is_not_ours():
    with pytest.raises(ModelError, match="x.onnx is not an edgecolor model .no manifest in its metadata."):
        Manifest.from_metadata({"author": "somebody"}, "x.onnx")


@pytest.mark.parametrize("text", ["{", "[]", "3", "{}", ""])
def test_a_manifest_that_is_not_json_or_has_no_name_is_refused(text):
    with pytest.raises(ModelError, match="export the model again"):
        Manifest.from_metadata({KEY: text}, "x.onnx")


def test_a_manifest_with_a_field_from_the_future_asks_for_an_upgrade():
    plain = json.loads(FULL.to_metadata()[KEY]) | {"dithering": 1}
    with pytest.raises(ModelError, match="dithering, unknown here: upgrade"):
        Manifest.from_metadata({KEY: json.dumps(plain)}, "x.onnx")


def test_a_manifest_that_lacks_a_newer_field_takes_its_default():
    plain = json.loads(FULL.to_metadata()[KEY])
    del plain["prior_shift"]
    assert Manifest.from_metadata({KEY: json.dumps(plain)}, "x.onnx") == FULL.replace(prior_shift=0.0)


def test_the_checksum_depends_on_names_and_bytes_but_not_on_their_order():
    tensors = [("a", b"12"), ("b", b"3")]
    checksum = weights_sha256(tensors)
    assert weights_sha256(reversed(tensors)) == checksum
    for other in ([("a", b"12"), ("b", b"4")], [("a", b"12"), ("c", b"3")], [("a", b"1"), ("b", b"23")], tensors[:1]):
        assert weights_sha256(other) != checksum
