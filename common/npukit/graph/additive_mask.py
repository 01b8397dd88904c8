"""Pass additive_mask: the attention mask as (1 - mask) * constant, whatever the exporter made of it.

transformers 4 wrote this form. transformers 5 builds the mask from index arithmetic, Gather, And and Where on booleans,
some sixty nodes where the length is open, that cost time on the chip and that no big kernel matches. What the nodes
mean is read from what they do: the part of the graph that makes the mask is run on random masks, and replaced only if
it gives 0 where the mask is 1 and one constant where it is 0. The mask must hold nothing else, as tokenizers make it.

Source  ascend_toolchain.md 7.2, 5: MagicONNX's big kernel wants the mask made by a Mul with a negative constant
"""
import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from npukit.errors import JobFailed
from npukit.graph.law import graph_pass
from npukit.graph.onnxfile import HALF_LOWEST, add_node, initializer
from npukit.graph.proof import session_of

OPEN = ((3, 5), (2, 1), (4, 7))  # batch and length of each trial, where the graph leaves them open


@graph_pass
def additive_mask(model: ir.Model) -> str:
    """Make every mask that is added in front of a Softmax from its int64 input [N, L]: Unsqueeze, Cast, 1 - x, Mul.

    The new mask is [N, 1, 1, L] and broadcasts as the old one did.
    raises  JobFailed where no Add in front of a Softmax has an operand that comes from one int64 [N, L] without a MatMul,
            or where that operand is no padding mask, or its constant does not fit half precision
    """
    before = sum(1 for _ in model.graph)
    masks = {}
    for node in model.graph:
        if node.op_type == "Softmax" and (found := mask_of(node)):
            masks[found[0]] = found[1]
    if not masks:
        raise JobFailed("no Softmax has an Add before it with an operand made of one input, int64 [N, L], without a MatMul")
    floors = {mask: floor_of(model, mask, source) for mask, source in masks.items()}
    for number, (mask, source) in enumerate(masks.items()):
        mask.replace_all_uses_with(plain(model.graph, source, floors[mask], number))
    common.RemoveUnusedNodesPass()(model)
    sources = ", ".join(sorted({source.name for source in masks.values()}))
    constants = ", ".join(sorted({f"{floor:g}" for floor in floors.values()}))
    after = sum(1 for _ in model.graph)
    return f"{len(masks)} mask(s) made of {sources} as (1 - mask) * {constants}; {before} nodes became {after}"


def mask_of(softmax: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """Return (the operand that is the mask, the graph input it is made of), if there is an Add with such an operand."""
    add = softmax.inputs[0].producer()
    if add is None or add.op_type != "Add":
        return None
    for operand in add.inputs:
        sources, nodes = origins(operand)
        if len(sources) == 1 and not any(node.op_type == "MatMul" for node in nodes):
            source = sources.pop()
            if source.dtype == ir.DataType.INT64 and len(source.shape) == 2:
                return operand, source
    return None


def origins(value: ir.Value) -> tuple[set[ir.Value], set[ir.Node]]:
    """Return the graph inputs whose values, not merely shapes, a value depends on, and the nodes on the way."""
    sources, nodes, todo = set(), set(), [value]
    while todo:
        value = todo.pop()
        node = value.producer()
        if value.is_graph_input():
            sources.add(value)
        elif node is not None and node not in nodes and node.op_type != "Shape":
            nodes.add(node)
            todo += [operand for operand in node.inputs if operand is not None]
    return sources, nodes


def floor_of(model: ir.Model, mask: ir.Value, source: ir.Value) -> float:
    """Return the constant that stands where the mask is 0, having run that part of the graph on random masks."""
    part = maker_of(model, mask)
    session, random, floor = session_of(part), np.random.default_rng(0), None
    for opened in OPEN:
        size = [dim if isinstance(dim, int) else opened[axis] for axis, dim in enumerate(source.shape)]
        known = dict(zip(source.shape, size))  # other inputs share the dims, by number or by name
        drawn = random.integers(0, 2, size)
        drawn.flat[:2] = (0, 1)  # both occur
        feeds = {i.name: np.zeros([known.get(dim, 1) for dim in i.shape], i.dtype.numpy()) for i in part.graph.inputs}
        made = session.run(None, feeds | {source.name: drawn})[0]
        floor = float(made.min()) if floor is None else floor
        wanted = np.where(drawn == 1, np.float32(0), np.float32(floor))[:, None, None, :]
        square = made.ndim == 4 and made.shape[2] in (1, size[1])
        if floor >= 0 or not square or not np.array_equal(made, wanted.repeat(made.shape[2], 2)):
            raise JobFailed(f"{mask.name} is no padding mask of {source.name}: on a random mask of {size} it is not "
                            f"0 where the mask is 1 and one negative number elsewhere")
    if floor < HALF_LOWEST:
        raise JobFailed(f"{mask.name} masks with {floor:g}, which half precision cannot hold; apply clamp_mask first")
    return floor


def maker_of(model: ir.Model, mask: ir.Value) -> ir.Model:
    """Return the part of the model that makes the mask, as a model of its own."""
    part = model.clone()
    value = next(output for node in part.graph for output in node.outputs if output.name == mask.name)
    value.dtype, value.shape = ir.DataType.FLOAT, None
    part.graph.outputs[:] = [value]
    common.RemoveUnusedNodesPass()(part)
    part.graph.inputs[:] = [value for value in part.graph.inputs if value.uses()]
    return part


def plain(graph: ir.Graph, source: ir.Value, floor: float, number: int) -> ir.Value:
    """Add the nodes of (1 - mask) * floor, float32 [N, 1, 1, L], and return what they make."""
    def op(op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
        return add_node(graph, f"mask_{number}_{op_type}", op_type, *inputs, **attributes)

    if graph.opset_imports[""] < 13:
        wide = op("Unsqueeze", source, axes=[1, 2])
    else:
        wide = op("Unsqueeze", source, initializer(graph, "mask_axes", np.array([1, 2])))
    kept = op("Cast", wide, to=ir.DataType.FLOAT)
    masked = op("Sub", initializer(graph, "mask_one", np.array(1, np.float32)), kept)
    return op("Mul", masked, initializer(graph, f"mask_floor_{number}", np.array(floor, np.float32)))
