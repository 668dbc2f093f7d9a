"""Run by test_tensorrt_rtx.py in an interpreter that has TensorRT-RTX: `python tensorrt_rtx_build.py WHAT ...`.

build MODEL.onnx SHAPES.json    parse and build; prints one JSON object
dispatch MODEL.onnx LIBRARY     parse with the plugin's library loaded, which ends the process once the plugin is made
"""

import importlib
import json
import sys

MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")


def import_rtx():
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    sys.exit(f"none of {', '.join(MODULES)} is importable")


def parsed(trt, path, severity):
    logger = trt.Logger(severity)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    with open(path, "rb") as file:
        good = parser.parse(file.read())
    errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
    return good, errors, builder, network, (logger, parser)


def build(path, shapes_path):
    trt = import_rtx()
    good, errors, builder, network, _alive = parsed(trt, path, trt.Logger.ERROR)
    if not good:
        sys.exit(f"not parsed: {errors}")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    with open(shapes_path, encoding="utf-8") as file:
        shapes = json.load(file)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    for tensor in inputs:
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, *shapes[tensor.name])
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    tensors = [*inputs, *(network.get_output(i) for i in range(network.num_outputs))]
    found = {tensor.name: [list(tensor.shape), str(tensor.dtype)] for tensor in tensors}
    print(json.dumps({"bytes": plan.nbytes if plan else 0, "tensors": found, "layers": network.num_layers}))


def dispatch(path, library):
    trt = import_rtx()
    registry = trt.get_plugin_registry()
    if registry.load_library(library) is None:
        sys.exit("the library does not load")
    good, errors, *_ = parsed(trt, path, trt.Logger.VERBOSE)
    sys.exit(f"parsed: {good} {errors}")


if __name__ == "__main__":
    {"build": build, "dispatch": dispatch}[sys.argv[1]](*sys.argv[2:])
