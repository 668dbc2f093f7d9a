"""Install edgecolor: `pip install .` to colorize, `pip install -e ".[train,dev]"` to work on it.

The folders `export/` and `train/` have names too common to install as they are, so they become
`edgecolor.export` and `edgecolor.train`; the sources of the plugins go along as `edgecolor/cpp_plugins`.
torch is an extra: nobody who only colorizes needs it.
"""

from pathlib import Path

from setuptools import find_packages, setup

RUNTIME = [
    "numpy>=1.26",
    "av>=17.1",
    "opencv-python-headless>=4.10",
    "onnxruntime>=1.20",
    "pillow>=11.0",
    "typer>=0.15",
    "rich>=13",
]
TRAIN = [
    "torch>=2.6",
    "onnx>=1.17",
    "onnxscript>=0.3",
    "safetensors>=0.4",
    "webdataset>=0.2.100",
    "pyyaml>=6",
]
DEV = [
    "pytest>=8",
    "pytest-benchmark>=5.1",
    "hypothesis>=6.100",
    "ruff>=0.9",
    "scikit-image>=0.24",
    "setuptools>=77",
]
OPENVINO = ["openvino>=2024.6", "onnx>=1.17"]
# TensorRT itself: pip install tensorrt on a desktop, JetPack on a Jetson, tensorrt-rtx for GeForce RTX cards.
TENSORRT = ["onnx>=1.17", "cuda-bindings>=12.6"]

subfolders = {f"edgecolor.{name}": name for name in ("export", "train", "cpp_plugins")}
setup(
    name="edgecolor",
    version="0.1.0",
    description="Colorize black-and-white video files, at close to transcode speed, without flicker, losing nothing",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["edgecolor", "edgecolor.*"]), *subfolders],
    package_dir=subfolders,
    package_data={
        "edgecolor": ["weights/*"],
        "edgecolor.train": ["configs/*.yaml"],
        "edgecolor.cpp_plugins": ["CMakeLists.txt", "color_token_decode/*", "frame_planes/*"],
    },
    install_requires=RUNTIME,
    extras_require={
        "openvino": OPENVINO,
        "tensorrt": TENSORRT,
        "pycuda": ["pycuda>=2024.1"],
        "train": TRAIN,
        "dev": [*DEV, *TRAIN],
    },
    entry_points={"console_scripts": ["edgecolor=edgecolor.cli:main"]},
)
