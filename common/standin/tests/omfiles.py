"""Small .om files, and sample files to run them on."""
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from standin import om

TYPES = {"int64": TensorProto.INT64, "int32": TensorProto.INT32, "float32": TensorProto.FLOAT}


def write_sum(
    path: Path, inputs: dict[str, tuple[int, ...]], dtype: str = "int64", soc: str = "cpu",
    mode: str = "static", gears: tuple[tuple[int, ...], ...] = (),
) -> Path:
    """An .om with one output, float32 of the inputs' shape: the sum of the inputs, weighted 1, 10, 100 ...

    So an answer tells which file went into which input. A -1 in the inputs' shapes is open.
    """
    names = list(inputs)
    nodes, terms = [], []
    for index, name in enumerate(names):
        nodes.append(helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT))
        weight = helper.make_tensor(f"w{index}", TensorProto.FLOAT, [], [10.0**index])
        nodes.append(helper.make_node("Constant", [], [f"w{index}"], value=weight))
        nodes.append(helper.make_node("Mul", [f"{name}_f", f"w{index}"], [f"{name}_t"]))
        terms.append(f"{name}_t")
    nodes.append(helper.make_node("Sum", terms, ["total"], name="Sum_1"))
    shapes = {name: [f"{name}_{i}" if n == -1 else n for i, n in enumerate(shape)] for name, shape in inputs.items()}
    first = inputs[names[0]]
    graph = helper.make_graph(
        nodes, "sum",
        [helper.make_tensor_value_info(name, TYPES[dtype], shapes[name]) for name in names],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, [None if n == -1 else n for n in first])],
    )
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model = om.OfflineModel(
        inputs=tuple(om.Tensor(name, dtype, shape) for name, shape in inputs.items()),
        outputs=(om.Tensor("Sum_1:0:total", "float32", first),),
        mode=mode, gears=gears, soc_version=soc, precision="fp32", command="atc ...", tool_version="test",
        graph=onnx_model.SerializeToString(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    om.write(path, model)
    return path


def write_samples(
    directory: Path, count: int, shape: tuple[int, ...], dtype: str = "int64", name: str = "data_{}.npy", start: int = 0
) -> Path:
    """`count` files; the i-th is filled with start + i. The suffix of `name` says .npy or .bin."""
    directory.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        array = np.full(shape, start + index, dtype)
        path = directory / name.format(index)
        np.save(path, array) if path.suffix == ".npy" else array.tofile(path)
    return directory


def om_of(path: Path) -> om.OfflineModel:
    """Read an om."""
    return om.read(path)


def run_om(path: Path, level=None, **feeds: np.ndarray) -> list[np.ndarray]:
    """Run an om's graph on ONNX Runtime, with the options of its precision; return the outputs."""
    import onnxruntime

    from standin import fp16

    model = om.read(path)
    options = fp16.session_options_for(model.precision)
    if level is not None:
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.graph, options, ["CPUExecutionProvider"]).run(None, feeds)
