"""The canonical form of a BERT, read strictly: what ATC's fusions AttentionScore, AttentionLnQKV and LayerNorm match.

What is asked for is what the fusion passes ask for, no more: where they leave a choice, any tool's choice is taken,
also MagicONNX's and msit's. Lengths and sizes are npukit.nets.fusions' matter. No chip has confirmed that this is enough.

Source  canndev 7d77ce32d054, ops/built-in/fusion_pass/graph_fusion/ai_core, of 2022, today's passes are closed:
        attention_score_fusion_pass.cc, mul_add_fusion_pass.cc, batch_matmul_fusion_pass.cc,
        transpose_reshape_fusion_pass.cc, matmul_biasadd_fusion_pass.cc, attention_ln_qkv_onnx_fusion_pass.cc,
        layer_norm_onnx_fusion_pass.cc
"""
import onnx_ir as ir

from npukit.graph.blocks import HEADS_FIRST, Linear, Mismatch, attention_softmaxes, layer_norm, linear, made_by, only_reader
from npukit.graph.onnxfile import constant

LAST_TWO_SWAPPED = (0, 1, 3, 2)


def assert_canonical(model: ir.Model) -> int:
    """Check every attention block and every LayerNorm, and return how many blocks there are.

    h is a LayerNorm's Add, rank 2, read by MatMul (query), MatMul (key), MatMul (value) and Add (residual) in this order.
    Query, key and value: MatMul, Add of a constant, Reshape, Transpose [0, 2, 1, 3]; the key once more [0, 1, 3, 2].
    Then MatMul, Mul by a constant second operand, its name with `bert` in it, Add of a mask [N, 1, L, L], Softmax of
    the last axis, MatMul, Transpose [0, 2, 1, 3], Reshape to rank 2, MatMul, Add, Add with h, LayerNorm.
    check_layer_norm has the rest.
    raises  Mismatch, with the number of the block or LayerNorm and what is not so, or where there is no block
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
    for number, sub in enumerate(centred(model)):
        try:
            check_layer_norm(sub)
        except Mismatch as error:
            raise Mismatch(f"LayerNorm {number} is not canonical: {error}") from None
    return len(softmaxes)


def check_block(softmax: ir.Node, place: dict[ir.Node, int]) -> None:
    """Check one block, from its Softmax back to the start and on to the residual Add; `place` is the nodes' order."""
    axis = softmax.attributes.get_int("axis", 1 if softmax.graph.opset_imports[""] < 13 else -1)
    require(axis in (-1, 3), f"{softmax.name} is over axis {axis}, not the last")
    product = check_scores(only_maker(softmax.inputs[0], "Add"))
    only_maker(product.inputs[1], "Transpose")
    q = projected(product.inputs[0], HEADS_FIRST)
    k = projected(product.inputs[1], LAST_TWO_SWAPPED, HEADS_FIRST)
    context = only_reader(softmax.outputs[0], "MatMul")
    v = projected(context.inputs[1], HEADS_FIRST)
    transpose = only_reader(context.outputs[0], "Transpose")
    require_perm(transpose, HEADS_FIRST)
    merge = only_reader(transpose.outputs[0], "Reshape")
    shape = constant(merge.inputs[1])
    require(shape is not None and len(shape) == 2,
            f"{merge.name} does not merge the heads to a constant shape of rank 2")
    out = linear(only_reader(only_reader(merge.outputs[0], "MatMul").outputs[0], "Add").outputs[0])
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
    """Check the mask and the scale of an Add in front of a Softmax; return the MatMul of query and key.

    Mul and Add become FusedMulAdd, the Add's operands in either order; one node may make the mask of all blocks.
    """
    scores, mask = add.inputs[::-1] if reads_product(add.inputs[1].producer()) else add.inputs
    mul = only_maker(scores, "Mul")
    scale = constant(mul.inputs[1])
    require(scale is not None and scale.size == 1, f"{mul.name} has no constant scalar as its second operand")
    require("bert" in mul.name and "adam" not in mul.name and "lamb" not in mul.name,
            f"the scale is named {mul.name}, expected a name with `bert` in it and neither `adam` nor `lamb`")
    product = only_maker(mul.inputs[0], "MatMul")
    require(is_square(mask, product.outputs[0].shape),
            f"the mask {mask.name} is {mask.shape}, expected [N, 1, L, L] exactly")
    return product


def reads_product(node: ir.Node | None) -> bool:
    """Tell whether a node reads what a MatMul makes."""
    makers = [] if node is None else [operand.producer() for operand in node.inputs]
    return any(maker is not None and maker.op_type == "MatMul" for maker in makers)


def is_square(mask: ir.Value, scores: ir.Shape | None) -> bool:
    """Tell whether a mask is [N, 1, L, L] where the scores are [N, heads, L, L].

    What is a number in both must be the same. Where lengths are open and ONNX cannot follow them, the operand of an
    Expand tells.
    """
    shape = mask.shape
    if shape is None or len(shape) != 4 or any(dim == ir.SymbolicDim(None) or str(dim).startswith("unk__")
                                               for dim in shape):
        return is_expanded(mask.producer())
    pairs = [] if scores is None else [(shape[axis], scores[axis]) for axis in (0, 2, 3)]
    return shape[1] == 1 and shape[2] == shape[3] and all(
        one == other for one, other in pairs if isinstance(one, int) and isinstance(other, int))


def is_expanded(node: ir.Node | None) -> bool:
    """Tell whether a node expands to [N, 1, L, L], the L being one value."""
    concat = node.inputs[1].producer() if node is not None and node.op_type == "Expand" else None
    if concat is None or concat.op_type != "Concat" or len(concat.inputs) != 4:
        return False
    one = constant(concat.inputs[1])
    return one is not None and one.tolist() == [1] and concat.inputs[2] is concat.inputs[3]


def centred(model: ir.Model) -> list[ir.Node]:
    """Return the Sub of a value and its mean of every LayerNorm, in whatever form the rest of it is."""
    return [node for node in model.graph if node.op_type == "Sub" and (mean := node.inputs[1].producer()) is not None
            and mean.op_type == "ReduceMean" and mean.inputs[0] is node.inputs[0]]


def check_layer_norm(sub: ir.Node) -> None:
    """Check the LayerNorm around the Sub of a value and its mean: x, float [..., H], over the last axis.

    ReduceMean, Sub, Pow by 2, ReduceMean, Add of a scalar up to 0.1, Sqrt, Div, then at once Mul and Add of constants
    [H], which are second operands. What is made in between has one reader each, the Sub's two: Pow and Div.
    raises  Mismatch
    """
    x, mean = sub.inputs[0], only_maker(sub.inputs[1], "ReduceMean")
    readers = sorted((use.node for use in sub.outputs[0].uses()), key=lambda node: node.op_type)
    op_types = [node.op_type for node in readers] + ["the caller of the model"] * sub.outputs[0].is_graph_output()
    require(op_types == ["Div", "Pow"], f"{sub.name} is read by {', '.join(op_types)}, expected Pow and Div")
    div, power = readers
    variance = only_reader(power.outputs[0], "ReduceMean")
    shifted = only_reader(variance.outputs[0], "Add")
    root = only_reader(shifted.outputs[0], "Sqrt")
    require(only_reader(root.outputs[0], "Div") is div and div.inputs[0] is sub.outputs[0],
            f"{div.name} does not divide {sub.name} by {root.name}")
    for node in (mean, variance):
        axes = tuple(node.attributes["axes"].as_ints())
        require(axes == (-1,) or (x.shape is not None and axes == (len(x.shape) - 1,)),
                f"{node.name} is over axes {axes}, expected the last")
        require(node.attributes.get_int("keepdims", 1) == 1, f"{node.name} does not keep the axis")
    exponent = constant(power.inputs[1])
    require(exponent is not None and exponent.size == 1 and exponent.item() == 2, f"{power.name} is no Pow by 2")
    small = [array for operand in shifted.inputs if (array := constant(operand)) is not None]
    require(len(small) == 1 and small[0].size == 1 and small[0].ndim <= 1 and small[0].item() <= 0.1,
            f"{shifted.name} does not add a scalar up to 0.1")
    mul = only_reader(div.outputs[0], "Mul")
    for node in (mul, only_reader(mul.outputs[0], "Add")):
        vector = constant(node.inputs[1])
        require(vector is not None and x.shape is not None and vector.shape == (x.shape[-1],),
                f"{node.name} has no constant of the last axis' size as its second operand")


def only_maker(value: ir.Value, op_type: str) -> ir.Node:
    """Return the node, of this operator, that makes a value which one node reads."""
    node = made_by(value, op_type)
    only_reader(value, value.uses()[0].node.op_type)
    return node


def projected(value: ir.Value, *perms: tuple[int, ...]) -> Linear:
    """Return the Linear of heads made by these Transposes, the last one first, and a Reshape."""
    for perm in perms:
        node = made_by(value, "Transpose")
        require_perm(node, perm)
        value = node.inputs[0]
    return linear(made_by(value, "Reshape").inputs[0])


def require_perm(node: ir.Node, perm: tuple[int, ...]) -> None:
    found = tuple(node.attributes["perm"].as_ints())
    require(found == perm, f"{node.name} transposes by {list(found)}, expected {list(perm)}")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Mismatch(otherwise)
