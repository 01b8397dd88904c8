"""The canonical attention form, read strictly: what ATC's big kernels AttentionLnQKV and AttentionScore match.

Source  ascend_toolchain.md 7.2, 7.3, after MagicONNX's BertBigKernelOptimizer and msit's KnowledgeBigKernel
"""
import onnx_ir as ir

from npukit.graph.blocks import HEADS_FIRST, Linear, Mismatch, attention_softmaxes, layer_norm, linear, made_by, only_reader
from npukit.graph.onnxfile import constant

LAST_TWO_SWAPPED = (0, 1, 3, 2)


def assert_canonical(model: ir.Model) -> int:
    """Check every attention block, and return how many there are.

    h is a LayerNorm's Add, rank 2, read by MatMul (query), MatMul (key), MatMul (value) and Add (residual) in this order.
    Query, key and value: MatMul, Add, Reshape, Transpose [0, 2, 1, 3]; the key once more [0, 1, 3, 2]. Then MatMul, Mul
    by a constant second operand, named bert_Mul_<n>, Add with an Expand of the mask, Softmax of the last axis, MatMul,
    Transpose [0, 2, 1, 3], Reshape to rank 2, MatMul, Add, Add with h, LayerNorm. Constants are second operands.
    raises  Mismatch, with the block's number and what is not so, or where there is no block
    """
    softmaxes = attention_softmaxes(model)
    if not softmaxes:
        raise Mismatch("no Softmax whose result a MatMul reads, so no attention")
    place = {node: number for number, node in enumerate(model.graph)}
    for number, softmax in enumerate(softmaxes):
        try:
            check_block(softmax, place)
        except Mismatch as error:
            raise Mismatch(f"block {number} is not canonical: {error}") from None
    return len(softmaxes)


def check_block(softmax: ir.Node, place: dict[ir.Node, int]) -> None:
    """Check one block, from its Softmax back to the start and on to the residual Add; `place` is the nodes' order."""
    require(softmax.attributes.get_int("axis", 0) == -1, f"{softmax.name} is not over axis -1")
    product = check_scores(made_by(softmax.inputs[0], "Add"))
    q = projected(product.inputs[0], HEADS_FIRST)
    k = projected(product.inputs[1], LAST_TWO_SWAPPED, HEADS_FIRST)
    context = only_reader(softmax.outputs[0], "MatMul")
    v = projected(context.inputs[1], HEADS_FIRST)
    transpose = only_reader(context.outputs[0], "Transpose")
    require_perm(transpose, HEADS_FIRST)
    merge = only_reader(transpose.outputs[0], "Reshape")
    shape = constant(merge.inputs[1])
    require(shape is not None and len(shape) == 2, f"{merge.name} does not merge the heads to a constant shape of rank 2")
    out = made_linear(only_reader(only_reader(merge.outputs[0], "MatMul").outputs[0], "Add").outputs[0])
    residual = only_reader(out.out, "Add")
    h = q.x
    readers = sorted({use.node for use in h.uses()}, key=place.get)
    require(readers == [q.matmul, k.matmul, v.matmul, residual],
            f"{h.name} is read by {[node.name for node in readers]}, expected MatMul of query, key, value, and the residual Add")
    require(h.shape is not None and len(h.shape) == 2, f"{h.name} is not of rank 2 but {h.shape}")
    require(layer_norm(made_by(h, "Add")) is not None, f"{h.name} does not come from a LayerNorm")
    require({use.node.op_type for use in residual.outputs[0].uses()} == {"ReduceMean", "Sub"},
            f"{residual.name} is not followed by a LayerNorm alone")


def check_scores(add: ir.Node) -> ir.Node:
    """Check the mask and the scale of an Add in front of a Softmax; return the MatMul of query and key."""
    mul = made_by(add.inputs[0], "Mul")
    scale = constant(mul.inputs[1])
    require(scale is not None and scale.size == 1, f"{mul.name} has no constant scalar as its second operand")
    require(mul.name.startswith("bert_Mul_"), f"the scale is named {mul.name}, expected bert_Mul_<n>")
    expand = made_by(add.inputs[1], "Expand")
    require(expand.inputs[1].shape == (4,), f"{expand.name} does not expand the mask to rank 4")
    require(len(expand.outputs[0].uses()) == 1, f"{expand.name} is shared between blocks, expected an Expand of its own")
    return made_by(mul.inputs[0], "MatMul")


def projected(value: ir.Value, *perms: tuple[int, ...]) -> Linear:
    """Return the Linear of heads made by these Transposes, the last one first, and a Reshape."""
    for perm in perms:
        node = made_by(value, "Transpose")
        require_perm(node, perm)
        value = node.inputs[0]
    return made_linear(made_by(value, "Reshape").inputs[0])


def made_linear(value: ir.Value) -> Linear:
    """Return the Linear that makes a value, its constants second operands."""
    found = linear(value)
    require(constant(found.add.inputs[1]) is not None, f"{found.add.name} does not have its constant as second operand")
    return found


def require_perm(node: ir.Node, perm: tuple[int, ...]) -> None:
    found = tuple(node.attributes["perm"].as_ints())
    require(found == perm, f"{node.name} transposes by {list(found)}, expected {list(perm)}")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Mismatch(otherwise)
