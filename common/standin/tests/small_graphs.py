"""Small ONNX models for the tests, built node by node, and the command that compiles them."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FIRST = "ATC start working now, please wait for a moment."
SUCCESS = "ATC run success, welcome to the next use."
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


def om_of(path):
    """Read an om."""
    from standin import om

    return om.read(path)


def run_om(path, level=None, **feeds):
    """Run an om's graph on ONNX Runtime, with the options of its precision; return the outputs."""
    import onnxruntime

    from standin import fp16

    model = om_of(path)
    options = fp16.session_options_for(model.precision)
    if level is not None:
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.graph, options, ["CPUExecutionProvider"]).run(None, feeds)
