"""Weights of a ViT as timm or Hugging Face name them, to the names of ct2_encoder.py; both must hold all of it.

timm: vit_{tiny,small,base,large}_patch16_*. Hugging Face: ViTModel and ViTForImageClassification, such as
google/vit-base-patch16-224-in21k, with and without the prefix "vit.".
"""

import re

import torch.nn.functional as F
from torch import Tensor, cat

from edgecolor.errors import ModelError

UNUSED = re.compile(r"(head|fc_norm|pre_logits|pooler|classifier|head_dist)\.")  # what classifies, after the patches
HUGGING_FACE = (  # as files name them, then as transformers 5 does in memory
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "stem."),
    (r"^layernorm\.", "norm."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^encoder\.layer\.(\d+)\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r"blocks.\1.attn.\2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"^layers\.(\d+)\.attention\.(q|k|v)_proj\.", r"blocks.\1.attn.\2."),
    (r"^layers\.(\d+)\.attention\.o_proj\.", r"blocks.\1.attn.proj."),
    (r"^layers\.(\d+)\.mlp\.", r"blocks.\1.mlp."),
)


def from_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {re.sub(r"^patch_embed\.proj\.", "stem.", name): value for name, value in state.items()}


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename, and join the three matrices of each attention into one."""
    own = {}
    for name, value in state.items():
        for pattern, replacement in HUGGING_FACE:
            name = re.sub(pattern, replacement, name)
        own[name] = value
    for name in [name for name in own if ".attn.q." in name]:
        parts = [name.replace(".q.", f".{part}.") for part in "qkv"]
        if all(part in own for part in parts):
            own[name.replace(".q.", ".qkv.")] = cat([own.pop(part) for part in parts])
    return own


def resized_positions(positions: Tensor, like: Tensor) -> Tensor:
    """Position embeddings (1, 1 + s^2, d) for another number of patches; the first is of the class token."""
    if positions.shape == like.shape or positions.ndim != 3 or positions.shape[1] < 2:
        return positions
    before, after = (round((count - 1) ** 0.5) for count in (positions.shape[1], like.shape[1]))
    if 1 + before**2 != positions.shape[1]:
        return positions  # not of a square: the shapes will be refused
    square = positions[:, 1:].transpose(1, 2).unflatten(2, (before, before))
    square = F.interpolate(square, size=(after, after), mode="bilinear", align_corners=False)
    return cat([positions[:, :1], square.flatten(2).transpose(1, 2)], dim=1)


def vit_weights(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights `state`, of either layout, under the names and shapes of `own`.

    The patches' kernel is summed over R, G and B, which are equal in gray, and doubled: those networks were trained on
    pictures in [-1, 1] and this one sees (L* - 50) / 100.
    raises  ModelError where they are no ViT's, of another size, or not complete
    """
    state = {name.removeprefix("vit."): value.float() for name, value in state.items()}
    if "patch_embed.proj.weight" in state:
        found = from_timm(state)
    elif "embeddings.patch_embeddings.projection.weight" in state:
        found = from_hugging_face(state)
    else:
        raise ModelError("these are no ViT's weights, neither as timm nor as Hugging Face names them: give others")
    found = {name: value for name, value in found.items() if not UNUSED.match(name)}
    if "pos_embed" in found:
        found["pos_embed"] = resized_positions(found["pos_embed"], own["pos_embed"])
    kernel = found.get("stem.weight")
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] == 3:
        found["stem.weight"] = 2 * kernel.sum(dim=1, keepdim=True)
    wrong = [f"no {name}" for name in own if name not in found]
    wrong += [f"an unknown {name}" for name in found if name not in own]
    wrong += [
        f"{name} of {list(found[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ModelError(f"the weights do not fit this ViT: they have {wrong[0]}{more}; take those of its size")
    return found
