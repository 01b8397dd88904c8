"""Small ONNX models, built node by node, and sample files to run them on."""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FIRST = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"
ATC = "atc --framework=5 --model=m.onnx --output=m --soc_version=Ascend310P3"
IDS = '--input_shape="ids:1,50;mask:1,50"'
DYNAMIC = '--input_shape="ids:1,-1;mask:1,-1"'
BATCHES = '--input_shape="ids:-1,50;mask:-1,50"'
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def save(path, nodes, inputs, outputs, weights=None, opset=11, domains=()):
    """Write a model.

    nodes    op_type, inputs, outputs[, name[, attributes]]; names divided by blanks
    inputs   name -> (element type, shape), outputs the same
    weights  name -> array
    """
    made = [helper.make_node(op, reads.split(), makes.split(), *(rest[:1] or [None]), **(rest[1] if rest[1:] else {}))
            for op, reads, makes, *rest in nodes]
    values = [[helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
              for side in (inputs, outputs)]
    graph = helper.make_graph(made, "g", *values,
                              [numpy_helper.from_array(np.asarray(array), name)
                               for name, array in (weights or {}).items()])
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def tagger(path, inputs=("ids", "mask"), shape=("batch", 50), kind=INT64, opset=11):
    """Write a model that adds its inputs and halves the sum: float32 [N, L] `scores` from the node `last`."""
    nodes = [("Cast", name, f"{name}_float", "", {"to": FLOAT}) for name in inputs]
    total = f"{inputs[0]}_float"
    for name in inputs[1:]:
        nodes.append(("Add", f"{total} {name}_float", f"{name}_sum"))
        total = f"{name}_sum"
    save(path, [*nodes, ("Mul", f"{total} half", "scores", "last")],
         {name: (kind, shape) for name in inputs}, {"scores": (FLOAT, shape)}, {"half": np.float32(0.5)}, opset)



def summing(path, inputs, kind=INT64):
    """Write a model with one output, float32 of the inputs' shape: the sum of the inputs, weighted 1, 10, 100 ...

    So an answer tells which file went into which input. A word in the inputs' shapes is an open axis.
    """
    nodes, weights = [], {}
    for index, name in enumerate(inputs):
        weights[f"w{index}"] = np.float32(10**index)
        nodes += [("Cast", name, f"{name}_f", f"cast{index}", {"to": FLOAT}),
                  ("Mul", f"{name}_f w{index}", f"t{index}", f"weigh{index}")]
    nodes.append(("Sum", " ".join(f"t{index}" for index in range(len(inputs))), "total", "last"))
    save(path, nodes, {name: (kind, shape) for name, shape in inputs.items()},
         {"total": (FLOAT, next(iter(inputs.values())))}, weights, 13)


def samples(folder: Path, count, shape, dtype="int64", name="data_{}.npy", start=0):
    """Write `count` files; the i-th is filled with start + i. The suffix of `name` says .npy or .bin."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        array = np.full(shape, start + index, dtype)
        path = folder / name.format(index)
        np.save(path, array) if path.suffix == ".npy" else array.tofile(path)
