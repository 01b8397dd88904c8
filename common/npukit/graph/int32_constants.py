"""Pass int32_constants: int64 constants and Casts where ONNX allows int32 as well.

The chip computes in int32; int64 operands cost a conversion each, and some kernels have no int64 form. ONNX fixes the
type of most int64 operands (shapes, axes, the model's inputs): those stay. What moves are the indices of a Gather, and
the chains of numbers that end in nothing but indices, comparisons and Casts.

Source  ascend_toolchain.md 7.2, MagicONNX's Int64ToInt32, which casts everything, clips what does not fit and leaves
        graphs that no longer are ONNX
"""
import numpy as np
import onnx_ir as ir

from npukit.errors import JobFailed
from npukit.graph.law import graph_pass, renew_shapes
from npukit.graph.onnxfile import constant, initializer

INDICES = {("Gather", 1), ("GatherElements", 1), ("ScatterElements", 1)}  # int32 or int64, whatever the rest is
LAYOUT = {"Slice", "Unsqueeze", "Squeeze", "Reshape", "Expand", "Transpose"}  # the first operand's type is the result's
JOINED = {"Add", "Sub", "Mul", "Concat"}  # all operands and the result are of one type
COMPARED = {"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}  # all operands are of one type
INT32 = np.iinfo(np.int32)


@graph_pass
def int32_constants(model: ir.Model) -> str:
    """Make int32 of the int64 constants and Casts that ONNX lets be int32.

    raises  JobFailed where there are none, or one that could be holds a number beyond int32: with its name and the number
    """
    renew_shapes(model)  # for the types
    narrow = narrowed(model.graph)
    casts = [value.producer() for value in narrow if value.producer().op_type == "Cast"]
    uses = [use for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT64
            for use in value.uses() if becomes_int32(use.node, use.idx, narrow)]
    if not casts and not uses:
        raise JobFailed("no int64 constant or Cast that ONNX lets be int32: none is an index, or ends in indices and comparisons")
    for node in casts:
        node.attributes["to"] = ir.AttrInt64("to", ir.DataType.INT32)
    for value in narrow:
        value.dtype = ir.DataType.INT32
    changed = {}
    for use in uses:
        value = use.node.inputs[use.idx]
        if value not in changed:
            changed[value] = int32_of(model.graph, value)
        use.node.replace_input_with(use.idx, changed[value])
    return f"{len(changed)} int64 constant(s) in {len(uses)} place(s) and {len(casts)} Cast(s) became int32"


def narrowed(graph: ir.Graph) -> set[ir.Value]:
    """Return the results that can be int32: the largest set of which every one is made of its like and read as such."""
    narrow = {node.outputs[0] for node in graph if node.outputs[0].dtype == ir.DataType.INT64
              and (node.op_type == "Cast" or node.op_type in LAYOUT | JOINED)}
    while unfit := {value for value in narrow if not fits(value, narrow)}:
        narrow -= unfit
    return narrow


def fits(value: ir.Value, narrow: set[ir.Value]) -> bool:
    """Tell whether a result can be int32 given that those in `narrow` are."""
    node = value.producer()
    if value.is_graph_output() or (node.op_type != "Cast" and not agree(node, narrow)):
        return False
    for use in value.uses():
        reader = use.node
        free = (reader.op_type, use.idx) in INDICES or reader.op_type == "Cast"
        carried = is_typed(reader, use.idx)
        if not free and not (carried and agree(reader, narrow)
                             and (reader.op_type in COMPARED or reader.outputs[0] in narrow)):
            return False
    return True


def is_typed(node: ir.Node, index: int) -> bool:
    """Tell whether this operand's type has to agree with that of the result or of other operands."""
    return node.op_type in JOINED | COMPARED or (node.op_type in LAYOUT and index == 0)


def agree(node: ir.Node, narrow: set[ir.Value]) -> bool:
    """Tell whether the typed operands all can be int32: constants can, each reader gets a copy."""
    typed = [operand for index, operand in enumerate(node.inputs) if is_typed(node, index)]
    return bool(typed) and all(operand in narrow or constant(operand) is not None for operand in typed)


def becomes_int32(node: ir.Node, index: int, narrow: set[ir.Value]) -> bool:
    """Tell whether a constant is to be int32 as this operand of this node."""
    if (node.op_type, index) in INDICES:
        return True
    if node.op_type in COMPARED:
        return any(operand in narrow for operand in node.inputs)
    return node.outputs[0] in narrow and is_typed(node, index)


def int32_of(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Return the constant as int32; one that does not fit is refused by name."""
    array = constant(value)
    beyond = array[(array < INT32.min) | (array > INT32.max)]
    if beyond.size:
        raise JobFailed(f"constant {value.name} holds {beyond.flat[0]}, beyond int32 ({INT32.min} to {INT32.max})")
    return initializer(graph, f"{value.name}_int32", array.astype(np.int32))
