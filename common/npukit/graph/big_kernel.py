"""Pass big_kernel: attention in the canonical form, which ATC fuses into AttentionLnQKV and AttentionScore.

Anything else stays unfused and is slow on 310P: a scale that divides, a key transposed in one step, a mask that
broadcasts, a residual flow of rank 3. canonical.py has the form in full. What the pass writes:

* the residual flow is [N*L, H] from the embeddings' LayerNorm to the last one; the Reshapes stand before the one and
  after the other, so that every LayerNorm stays in one piece, which ATC fuses as well;
* of each block: Reshape and Transpose of query, key and value, the key in two steps, one Mul after their product that
  holds all scales;
* the mask is expanded to [N, 1, L, L] once, for all blocks;
* constants of Adds and Muls along the flow become second operands.

With fixed N and L every shape is a constant. With one of them open, as gears need, -1 stands for it in Reshapes; what
needs more (both open, or an Expand to an open L) is computed from the shape of the first input. additive_mask should
have run before: else the exporter's own mask nodes stay, and read shapes of their own.

Source  msit 31c1cb17840b, KnowledgeBigKernel: the form, which it reaches from a first block that the user names.
        MagicONNX 45f4fd50a7e7, BertBigKernelOptimizer, finds the blocks by node names (Type_<number>, as exporters
        wrote them until 2021) and puts its Reshapes between Mul and Add of LayerNorms. Both expand the mask for each
        block anew, which no fusion asks for
"""
import numpy as np
import onnx_ir as ir

from npukit.graph.blocks import Block, Mismatch, blocks_of
from npukit.graph.canonical import assert_canonical
from npukit.graph.law import graph_pass, renew_shapes
from npukit.graph.onnxfile import add_node, constant, initializer
from npukit.graph.shapes import Shapes

# Operators that work on [N*L, H] as they do on [N, L, H].
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Erf", "Tanh", "Relu", "Sigmoid", "Exp", "Neg", "Abs"}


@graph_pass
def big_kernel(model: ir.Model) -> str:
    """Bring every attention block of a BERT into the canonical form.

    The graph's inputs are all int64 [N, L], static or symbolic.
    raises  Mismatch (JobFailed) where there is no attention, a block is of another form, something in between depends
            on the rank of the residual flow, or the result is not canonical
    """
    blocks = blocks_of(model)
    shapes = Shapes(model.graph)
    flow = flow_of(blocks)
    first, last = blocks[0].start, blocks[-1].end
    for use in [use for node in flow for output in node.outputs
                for use in output.uses() if use.node.op_type == "Shape"]:
        use.node.replace_input_with(use.idx, first.x)  # which stays [N, L, H]
    flat = add_node(model.graph, "bert_flatten", "Reshape", first.x, shapes.reshape(-1, blocks[0].hidden))
    for node in (first.mean, first.sub):
        node.replace_input_with(0, flat)
    masks = expanded(model.graph, blocks, shapes)
    for number, block in enumerate(blocks):
        write_attention(model.graph, block, number, masks[block.mask], shapes)
    unflatten(model.graph, last.out, shapes.reshape("N", "L", blocks[0].hidden))
    for node in flow:
        constant_second(node)
    renew_shapes(model)
    if (count := assert_canonical(model)) != len(blocks):
        raise Mismatch(f"{len(blocks)} blocks were rewritten and {count} are canonical")
    scales = ", ".join(sorted({f"{block.scale:g}" for block in blocks}))
    return (f"{count} attention block(s) in canonical form: {blocks[0].heads} heads of {blocks[0].head_size}, scale {scales}, "
            f"residual flow of rank 2, shapes {shapes.kind}")


def flow_of(blocks: list[Block]) -> list[ir.Node]:
    """Return the nodes that the residual flow runs through, from the first LayerNorm to the Add of the last one.

    raises  Mismatch where one of them would not do the same in rank 2, or somebody outside reads what it makes
    """
    splits = {split for block in blocks for split in block.splits}
    first, last = blocks[0].start, blocks[-1].end.add
    entries = [first.mean, first.sub, *(block.out.matmul for block in blocks)]  # they read what is rewritten
    nodes, todo = {}, [*entries]
    while todo:
        node = todo.pop()
        if node in nodes:
            continue
        nodes[node] = None
        require_rank_free(node)
        if node is last:
            continue
        for output in node.outputs:
            if output.is_graph_output():
                raise Mismatch(f"{output.name} is an output of the model and lies within the blocks, where it gets rank 2")
            todo += [use.node for use in output.uses() if use.node not in splits and use.node.op_type != "Shape"]
    for node in nodes.keys() - set(entries):
        for operand in node.inputs:
            if constant(operand) is None and operand.producer() not in nodes:
                raise Mismatch(f"{node.name} within the blocks reads {operand.name}, which comes from outside")
    return list(nodes)


def require_rank_free(node: ir.Node) -> None:
    """Raise where a node depends on the rank of what runs through it."""
    second = constant(node.inputs[1]) if len(node.inputs) == 2 else None
    if node.op_type == "MatMul":
        free = second is not None and second.ndim == 2
    elif node.op_type == "ReduceMean":
        free = tuple(node.attributes["axes"].as_ints()) == (-1,) and node.attributes.get_int("keepdims", 1) == 1
    else:
        free = node.op_type in ELEMENTWISE and all(array.ndim <= 1
                                                   for i in node.inputs if (array := constant(i)) is not None)
    if not free:
        raise Mismatch(f"{node.name or node.op_type} ({node.op_type}) within the blocks depends on the rank of the residual flow")


def expanded(graph: ir.Graph, blocks: list[Block], shapes: Shapes) -> dict[ir.Value, ir.Value]:
    """Return the blocks' masks, of which there is one as a rule, expanded to [N, 1, L, L]."""
    masks = dict.fromkeys(block.mask for block in blocks)
    return {mask: add_node(graph, f"bert_mask_{number}", "Expand", mask, shapes.square())
            for number, mask in enumerate(masks)}


def unflatten(graph: ir.Graph, value: ir.Value, shape: ir.Value) -> None:
    """Put a Reshape behind a value, for all that read it; where it is an output of the model, the Reshape's result is."""
    whole = add_node(graph, "bert_unflatten", "Reshape", value, shape)
    for use in [use for use in value.uses() if use.node is not whole.producer()]:
        use.node.replace_input_with(use.idx, whole)
    for number, output in enumerate(graph.outputs):
        if output is value:
            whole.name, whole.type, whole.shape = value.name, value.type, value.shape
            value.name = f"{value.name}_flat"
            graph.outputs[number] = whole


def write_attention(graph: ir.Graph, block: Block, number: int, mask: ir.Value, shapes: Shapes) -> None:
    """Write one block's attention between its Linears, anew; the old nodes are left without readers."""
    split = shapes.reshape("N", "L", block.heads, block.head_size)

    def op(name: str, op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
        return add_node(graph, f"bert_{number}_{name}", op_type, *inputs, **attributes)

    def heads(name: str, value: ir.Value) -> ir.Value:
        return op(f"{name}_transpose", "Transpose", op(f"{name}_split", "Reshape", value, split), perm=[0, 2, 1, 3])

    q, k, v = heads("query", block.q.out), heads("key", block.k.out), heads("value", block.v.out)
    product = op("product", "MatMul", q, op("key_transpose_2", "Transpose", k, perm=[0, 1, 3, 2]))
    scale = initializer(graph, f"bert_scale_{number}", np.array(block.scale, np.float32))
    scores = add_node(graph, f"bert_Mul_{number}", "Mul", product, scale)  # ATC's fusion looks for this name
    block.softmax.replace_input_with(0, op("masked", "Add", scores, mask))
    block.softmax.attributes["axis"] = ir.AttrInt64("axis", -1)
    context = op("context_transpose", "Transpose", op("context", "MatMul", block.softmax.outputs[0], v),
                 perm=[0, 2, 1, 3])
    block.out.matmul.replace_input_with(0, op("merge", "Reshape", context, shapes.reshape(-1, block.hidden)))


def constant_second(node: ir.Node) -> None:
    """Swap the operands of an Add or Mul whose first one is the constant."""
    if node.op_type in ("Add", "Mul") and constant(node.inputs[0]) is not None:
        first, second = node.inputs
        node.replace_input_with(0, second)
        node.replace_input_with(1, first)
