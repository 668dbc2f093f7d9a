"""Run by test_plugin_registry.py in an interpreter that has TensorRT's registry: `python tensorrt_registry.py LIBRARY`.

Prints one JSON object. A process of its own, because two TensorRT versions do not share one.
"""

import importlib
import json
import sys

import numpy as np

MODULES = ("tensorrt", "tensorrt_lean_bindings", "tensorrt_dispatch_bindings")


def import_tensorrt():
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    sys.exit(f"none of {', '.join(MODULES)} is importable")


def main(path: str) -> None:
    trt = import_tensorrt()
    logger = trt.Logger(trt.Logger.ERROR)
    registry = trt.get_plugin_registry()
    found = {"version": trt.__version__, "missing file": registry.load_library(path + ".not") is None}
    handle = registry.load_library(path)
    found["loaded"] = handle is not None
    creator = registry.get_creator("ColorTokenDecode", "1", "edgecolor")
    found["creator"] = None if creator is None else [creator.name, creator.plugin_version, creator.plugin_namespace]
    found["fields"] = [field.name for field in creator.field_names]
    found["elsewhere"] = registry.get_creator("ColorTokenDecode", "1", "") is not None

    def make(phase, *fields):
        collection = trt.PluginFieldCollection([trt.PluginField(*field) for field in fields])
        return creator.create_plugin("decode", collection, phase)

    build, runtime = trt.TensorRTPhase.BUILD, trt.TensorRTPhase.RUNTIME
    int32, float32 = trt.PluginFieldType.INT32, trt.PluginFieldType.FLOAT32
    mode = {value: ("mode", np.array([value], np.int32), int32) for value in (0, 1, 2, -1)}
    found["makes"] = {
        "mode 0": make(build, mode[0]) is not None,
        "mode 1": make(build, mode[1]) is not None,
        "no field": make(build) is not None,
        "mode 1 of an engine": make(runtime, mode[1]) is not None,
    }
    found["refuses"] = {
        "mode 2": make(build, mode[2]) is None,
        "mode -1": make(build, mode[-1]) is None,
        "float mode": make(build, ("mode", np.array([1], np.float32), float32)) is None,
        "two modes": make(build, ("mode", np.array([0, 1], np.int32), int32)) is None,
        "unknown field": make(build, ("temperature", np.array([1], np.float32), float32)) is None,
        "engine without mode": make(runtime) is None,
    }
    plugin = make(build, mode[1])
    core, builder, runner = (
        plugin.get_capability_interface(getattr(trt.PluginCapabilityType, name))
        for name in ("CORE", "BUILD", "RUNTIME")
    )
    found["plugin"] = [core.plugin_name, core.plugin_version, core.plugin_namespace, builder.num_outputs]
    found["runs"] = runner is not None
    found["second load"] = registry.load_library(path) is None
    print(json.dumps(found))
    sys.stdout.flush()
    del logger


if __name__ == "__main__":
    main(sys.argv[1])
