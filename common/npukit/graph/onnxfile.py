"""ONNX files: read, written whole or not at all; what their inputs, outputs and constants are."""
from pathlib import Path

import numpy as np
import onnx_ir as ir

from npukit.errors import UserError
from npukit.files import aside

HALF_LOWEST = -65504.0  # of what half precision can hold
Signature = dict[str,
                 tuple[str, tuple[int | str, ...]]]  # name -> (dtype as numpy spells it, dims; symbolic ones by name)


def load(path: Path) -> ir.Model:
    """Return the model of an ONNX file that holds its weights itself (up to 2 GB).

    raises  UserError where the file is missing or no ONNX model
    """
    try:
        model = ir.load(path)
    except FileNotFoundError:
        raise UserError(f"{path} is not there; the stage that makes it has not run") from None
    except Exception as error:  # protobuf and onnx have a family each for files that they cannot read
        raise UserError(f"{path} is not a whole ONNX file ({type(error).__name__}); run the stage that writes it again") from None
    if not len(model.graph.outputs):  # an empty file is a valid protobuf message
        raise UserError(f"{path} holds no graph; run the stage that writes it again")
    model.meta["path"] = str(path)
    return model


def save(model: ir.Model, path: Path) -> None:
    """Write the model, weights included, to one file."""
    with aside(path) as new:
        ir.save(model, new, format="protobuf")


def name_of(model: ir.Model) -> str:
    """Return what to call the model in a message: its file, or its graph's name."""
    return str(model.meta.get("path") or model.graph.name or "the model")


def signature(values) -> Signature:
    """Return the names, dtypes and dims of a model's inputs or outputs."""
    return {value.name: (str(value.dtype.numpy()),
                         tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape))
            for value in values}


def agrees(new: Signature, old: Signature) -> bool:
    """Tell whether names, order, dtypes, ranks and numbers are the same; a symbolic dim may have become a number."""
    return list(new) == list(old) and all(
        dtype == old[name][0] and len(dims) == len(old[name][1])
        and all(dim == was or isinstance(was, str) for dim, was in zip(dims, old[name][1]))
        for name, (dtype, dims) in new.items())


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return what a value holds, where it is an initialiser."""
    return value.const_value.numpy() if value is not None and value.const_value is not None else None


def add_node(graph: ir.Graph, name: str, op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
    """Add a node at the graph's end and return what it makes; both have the name. Sorting is left to the pass' law."""
    return ir.tape.Tape(graph).op(op_type, inputs, attributes, name=name, output=ir.Value(name=name))


def initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Add an initialiser to the graph, or return the one of that name that holds the same; of the array's own dtype."""
    if name in graph.initializers and np.array_equal(constant(graph.initializers[name]), array):
        return graph.initializers[name]
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
