"""Paint pictures in RGB and in Lab by networks of the same layers, and measure how blurred each comes out.

    python benchmarks/rgb_against_lab.py RGB.pt LAB.pt PHOTOGRAPHS [--limit 100] [--sheet sheet.png]

RGB.pt and LAB.pt are checkpoints of basic-rgb and basic-lab. Their pictures are compared as the networks paint them, at
half of what they see: RGB with its own lightness, Lab with the lightness that it was given. docs/models.md holds the
figures.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from edgecolor.color.lab import lab_to_srgb, srgb_to_lab
from edgecolor.stages.frame_to_lightness import image_to_lightness, working_size
from edgecolor.train.colorize import model_of_checkpoint
from edgecolor.train.evaluate import to_gray
from edgecolor.train.metrics import colorfulness, mean_ciede2000, psnr, rgb8_to_lab, ssim
from edgecolor.train.pictures import read_pictures


def sharpness(rgb: np.ndarray) -> float:
    """Mean size of the gradient of L*, by Sobel."""
    lightness = np.ascontiguousarray(rgb8_to_lab(rgb)[..., 0], dtype=np.float32)
    return float(np.hypot(cv2.Sobel(lightness, -1, 1, 0), cv2.Sobel(lightness, -1, 0, 1)).mean())


def to_bytes(rgb: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def paint(networks: dict[str, torch.nn.Module], original: np.ndarray) -> dict[str, np.ndarray]:
    """name -> (H, W, 3) uint8; and the original at that size."""
    h0, w0 = working_size(original.shape[1], original.shape[0], 256, 8)
    seen = cv2.resize(original, (w0, h0), interpolation=cv2.INTER_AREA)
    lightness = image_to_lightness(to_gray(seen))
    with torch.no_grad():
        given = torch.from_numpy(lightness)[None, None]
        _, rgb = networks["RGB"](given)
        ab = networks["Lab"](given)[0].permute(1, 2, 0).numpy()
    half = cv2.resize(seen, (w0 // 2, h0 // 2), interpolation=cv2.INTER_AREA)
    own = srgb_to_lab(np.repeat(to_gray(half)[..., None], 3, axis=2).astype(np.float32) / 255)[..., :1]
    lab = lab_to_srgb(np.concatenate([own, ab], axis=-1).astype(np.float32))
    return {"RGB": to_bytes(rgb[0].permute(1, 2, 0).numpy()), "Lab": to_bytes(lab), "original": half}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rgb", type=Path)
    parser.add_argument("lab", type=Path)
    parser.add_argument("photographs")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--sheet", type=Path, help="PNG of the first eight: RGB, Lab, original")
    args = parser.parse_args()
    networks = {name: model_of_checkpoint(path)[0] for name, path in (("RGB", args.rgb), ("Lab", args.lab))}
    rows: dict[str, list[list[float]]] = {"RGB": [], "Lab": []}
    sheet = []
    for _, original in read_pictures(args.photographs, args.limit):
        if original is None:
            continue
        painted = paint(networks, original)
        reference = painted["original"]
        for name, found in rows.items():
            ours = painted[name]
            found.append([
                psnr(ours, reference), ssim(ours, reference), mean_ciede2000(rgb8_to_lab(ours), rgb8_to_lab(reference)),
                sharpness(ours) / max(sharpness(reference), 1e-6), colorfulness(ours),
            ])  # fmt: skip
        if len(sheet) < 8:
            sheet.append(np.concatenate([cv2.resize(picture, (192, 144)) for picture in painted.values()], axis=1))
    print("| paints | PSNR | SSIM | CIEDE2000 | sharpness | colorfulness |\n|---|---|---|---|---|---|")
    for name, found in rows.items():
        means = np.mean(found, axis=0)
        print(f"| {name} | {means[0]:.2f} | {means[1]:.3f} | {means[2]:.2f} | {means[3]:.0%} | {means[4]:.1f} |")
    if args.sheet:
        cv2.imwrite(str(args.sheet), np.concatenate(sheet)[..., ::-1])


if __name__ == "__main__":
    main()
