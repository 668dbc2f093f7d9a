"""CT2's vision transformer and the weights it starts from, against NumPy. pytest tests/test_models_ct2_encoder.py"""

import re

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the models need torch")

from ct2_tiny import lightness_with_edges  # noqa: E402

from edgecolor.color.tokens import softmax  # noqa: E402
from edgecolor.errors import ModelError  # noqa: E402
from edgecolor.models.ct2_encoder import VisionTransformer  # noqa: E402


def reference_vit(state: dict[str, np.ndarray], rgb: np.ndarray, heads: int) -> np.ndarray:
    """(3, H, W) in [-1, 1] to the features of its patches, (P, d), by timm's weights."""
    from scipy.special import erf

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    kernel = state["patch_embed.proj.weight"]
    corners = [(y, x) for y in range(0, rgb.shape[1], 16) for x in range(0, rgb.shape[2], 16)]
    x = np.stack([np.tensordot(kernel, rgb[:, y : y + 16, x : x + 16], 3) for y, x in corners])
    x = np.concatenate([state["cls_token"][0], x + state["patch_embed.proj.bias"]]) + state["pos_embed"][0]
    for block in sorted({name[: name.index(".", 7)] for name in state if name.startswith("blocks.")}):
        q, k, v = np.split(linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv"), 3, axis=-1)
        seen = []
        for part in np.split(np.arange(x.shape[1]), heads):
            scores = q[:, part] @ k[:, part].T / np.sqrt(len(part))
            seen.append(softmax(scores) @ v[:, part])
        x = x + linear(np.concatenate(seen, axis=-1), f"{block}.attn.proj")
        y = linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")
        x = x + linear(y * (1 + erf(y / np.sqrt(2))) / 2, f"{block}.mlp.fc2")
    return norm(x, "norm")[1:]


def timm_weights(dim: int = 24, layers: int = 2, side: int = 3) -> dict[str, torch.Tensor]:
    """Random ones under timm's names, with the classifier that comes along."""
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + side**2, dim),
        "head.weight": (10, dim),
        "head.bias": (10,),
    }
    shapes |= {"patch_embed.proj.weight": (dim, 3, 16, 16), "patch_embed.proj.bias": (dim,)}
    names = {"attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    for i in range(layers):
        for name, shape in names.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    for name in ["norm", *(f"blocks.{i}.norm{j}" for i in range(layers) for j in (1, 2))]:
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def hugging_face_weights(timm: dict[str, torch.Tensor], prefix: str, layer: str, parts: dict[str, str]) -> dict:
    """The same under the names of Hugging Face, with a pooler that comes along."""
    plain = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings"}
    renamed = {"pooler.dense.weight": torch.zeros(24, 24), "pooler.dense.bias": torch.zeros(24)}
    for name, value in timm.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.(\S+)\.(weight|bias)", name):
            i, part, kind = match.groups()
            for own, piece in zip("qkv", value.chunk(3), strict=True) if part == "attn.qkv" else [(part, value)]:
                renamed[f"{layer}.{i}.{parts[own]}.{kind}"] = piece
        elif not name.startswith("head."):
            name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            renamed[plain.get(name, re.sub(r"^norm\.", "layernorm.", name))] = value
    return {prefix + name: value for name, value in renamed.items()}


NORMS = {"norm1": "layernorm_before", "norm2": "layernorm_after"}
IN_FILES = NORMS | {
    **{key[0]: f"attention.attention.{key}" for key in ("query", "key", "value")},
    **{"attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"},
}
IN_MEMORY = NORMS | {
    **{key: f"attention.{key}_proj" for key in "qkv"},
    **{"attn.proj": "attention.o_proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
}
LAYOUTS = {
    "timm": lambda timm: timm,
    "hugging-face": lambda timm: hugging_face_weights(timm, "", "encoder.layer", IN_FILES),
    "hugging-face-classifier": lambda timm: hugging_face_weights(timm, "vit.", "encoder.layer", IN_FILES),
    "transformers-5-in-memory": lambda timm: hugging_face_weights(timm, "", "layers", IN_MEMORY),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_of_each_layout_make_the_network_that_they_were_trained_as(layout):
    timm = timm_weights()
    encoder = VisionTransformer(24, 3, 2, grid=3).eval()
    encoder.load_imagenet(LAYOUTS[layout](timm))
    lightness = lightness_with_edges(1, 48, 48)[0]
    with torch.no_grad():
        found = encoder(torch.from_numpy((lightness - 50) / 100)[None])[0].flatten(1).T.numpy()
    reference = {name: value.double().numpy() for name, value in timm.items()}
    gray_in_rgb = np.repeat(lightness / 50 - 1, 3, axis=0).astype(np.float64)
    np.testing.assert_allclose(found, reference_vit(reference, gray_in_rgb, 3), atol=2e-4)


def test_position_embeddings_of_another_grid_are_resized():
    timm = timm_weights(side=5)
    encoder = VisionTransformer(24, 3, 2, grid=3)
    encoder.load_imagenet(timm)
    square = timm["pos_embed"][0, 1:].reshape(5, 5, 24).numpy()
    expected = cv2.resize(square, (3, 3), interpolation=cv2.INTER_LINEAR).reshape(9, 24)
    np.testing.assert_allclose(encoder.pos_embed[0, 1:].detach().numpy(), expected, atol=1e-5)
    assert torch.equal(encoder.pos_embed[0, 0], timm["pos_embed"][0, 0])


def test_weights_that_do_not_fit_are_refused_whole():
    encoder = VisionTransformer(24, 3, 2, grid=3)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    incomplete = {name: value for name, value in timm_weights().items() if name != "blocks.1.mlp.fc1.bias"}
    for state, words in [
        (incomplete, "no blocks.1.mlp.fc1.bias"),
        (timm_weights(dim=48), r"\[1, 1, 48\] instead of \[1, 1, 24\]"),
        (timm_weights(layers=3), "an unknown blocks.2"),
        ({"stem.weight": torch.zeros(3)}, "no ViT's weights"),
    ]:
        with pytest.raises(ModelError, match=words):
            encoder.load_imagenet(state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
