"""BERT's blocks, read from a graph by their structure: however the exporter named, scaled, reshaped and transposed.

One block is attention, residual Add, LayerNorm, feed-forward, residual Add, LayerNorm:

    h = LayerNorm(...)                                   the residual flow, [N, L, H] or [N*L, H]
    q, k, v = heads(h W + b)                             Linear, Reshape, Transpose
    p = Softmax(scale * q k' + mask)                     scale after q k', or on q, or on k, or on both; Mul or Div
    x = LayerNorm(h + merge(p v) W + b)
    h' = LayerNorm(x + feed_forward(x))

Source  Devlin et al. 2018, the post-LayerNorm encoder; ascend_toolchain.md 7.2, 7.3
"""
import itertools
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from npukit.errors import JobFailed
from npukit.graph.onnxfile import constant

HEADS_FIRST = (0, 2, 1, 3)  # [N, L, heads, size] -> [N, heads, L, size]
TRANSPOSED = (0, 2, 3, 1)  # [N, L, heads, size] -> [N, heads, size, L]


class Mismatch(JobFailed):
    """The graph is not of the form that was looked for: what was found, and where."""


@dataclass(frozen=True)
class Linear:
    """x W + b, float W [in, out]."""

    x: ir.Value
    matmul: ir.Node
    add: ir.Node

    @property
    def out(self) -> ir.Value:
        return self.add.outputs[0]


@dataclass(frozen=True)
class LayerNorm:
    """The pattern ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add; mean and sub read x, add adds the bias."""

    x: ir.Value
    mean: ir.Node
    sub: ir.Node
    add: ir.Node

    @property
    def out(self) -> ir.Value:
        return self.add.outputs[0]


@dataclass(frozen=True)
class Block:
    """One block; q, k, v and out are Linear, splits the three Reshapes into heads."""

    start: LayerNorm
    q: Linear
    k: Linear
    v: Linear
    splits: tuple[ir.Node, ...]
    heads: int
    head_size: int
    scale: float
    mask: ir.Value
    softmax: ir.Node
    out: Linear
    end: LayerNorm

    @property
    def hidden(self) -> int:
        return self.heads * self.head_size


def blocks_of(model: ir.Model) -> list[Block]:
    """Return the blocks in order.

    raises  Mismatch where there is no Softmax between MatMuls, one of them is not part of a block as above, or the
            blocks are not one chain
    """
    norms = [norm for node in model.graph if (norm := layer_norm(node))]
    softmaxes = attention_softmaxes(model)
    if not softmaxes:
        raise Mismatch(f"no Softmax whose result a MatMul reads, so no attention, in {sum(1 for _ in model.graph)} nodes")
    blocks = []
    for number, softmax in enumerate(softmaxes):
        try:
            blocks.append(block_of(softmax, norms))
        except Mismatch as error:
            raise Mismatch(f"attention block {number} of {len(softmaxes)}, at {softmax.name}: {error}") from None
    for number, (one, other) in enumerate(itertools.pairwise(blocks)):
        if one.end.out is not other.start.out:
            raise Mismatch(f"block {number + 1} does not start where block {number} ends, at {one.end.out.name}")
    return blocks


def attention_softmaxes(model: ir.Model) -> list[ir.Node]:
    """Return every Softmax whose result a MatMul reads."""
    return [node for node in model.graph if node.op_type == "Softmax"
            and any(use.node.op_type == "MatMul" for use in node.outputs[0].uses())]


def block_of(softmax: ir.Node, norms: list[LayerNorm]) -> Block:
    """Return the block around an attention Softmax."""
    if softmax.attributes.get_int("axis", 1 if softmax.graph.opset_imports[""] < 13 else -1) not in (-1, 3):
        raise Mismatch("the Softmax is not over the last axis")
    product, scale, mask = scores_of(softmax)
    q, q_scale, q_split = projection(product.inputs[0], HEADS_FIRST)
    k, k_scale, k_split = projection(product.inputs[1], TRANSPOSED)
    context = only_reader(softmax.outputs[0], "MatMul")
    v, v_scale, v_split = projection(context.inputs[1], HEADS_FIRST)
    if not (q.x is k.x is v.x) or v_scale != 1:
        raise Mismatch(f"query, key and value are not made of one tensor: {q.x.name}, {k.x.name}, {v.x.name}")
    transpose = only_reader(context.outputs[0], "Transpose")
    if tuple(transpose.attributes["perm"].as_ints()) != HEADS_FIRST:
        raise Mismatch(f"{transpose.name} does not bring the heads back to [N, L, heads, size]")
    merge = only_reader(transpose.outputs[0], "Reshape")
    out = linear(only_reader(only_reader(merge.outputs[0], "MatMul").outputs[0], "Add").outputs[0])
    residual = only_reader(out.out, "Add")
    if q.x not in residual.inputs:
        raise Mismatch(f"{residual.name} does not add the block's input {q.x.name}")
    start = one_of([norm for norm in norms if norm.out is q.x], f"LayerNorm that makes {q.x.name}")
    inner = one_of([norm for norm in norms if norm.x is residual.outputs[0]],
                   f"LayerNorm of {residual.outputs[0].name}")
    second = one_of([use.node for use in inner.out.uses() if use.node.op_type == "Add"],
                    f"residual Add of {inner.out.name}")
    end = one_of([norm for norm in norms if norm.x is second.outputs[0]], f"LayerNorm of {second.outputs[0].name}")
    heads, size = head_sizes(q_split, q)
    return Block(start, q, k, v, (q_split, k_split, v_split), heads, size, scale * q_scale * k_scale, mask, softmax,
                 out, end)


def scores_of(softmax: ir.Node) -> tuple[ir.Node, float, ir.Value]:
    """Return (the MatMul of query and key, what scales it, the mask) of Softmax(scale * q k' + mask)."""
    add = made_by(softmax.inputs[0], "Add")
    for scores, mask in (add.inputs, add.inputs[::-1]):
        value, scale = unscaled(scores)
        node = value.producer()
        if node is not None and node.op_type == "MatMul":
            return node, scale, mask
    raise Mismatch(f"neither operand of {add.name} is a scaled MatMul of query and key")


def unscaled(value: ir.Value) -> tuple[ir.Value, float]:
    """Return (x, c) where the value is c * x: Mul and Div by constant scalars are followed back."""
    scale = 1.0
    while (node := value.producer()) is not None and node.op_type in ("Mul", "Div"):
        operands = [(i, constant(operand)) for i, operand in enumerate(node.inputs)]
        scalar = [(i, array.item()) for i, array in operands if array is not None and array.size == 1]
        if not scalar or (node.op_type == "Div" and scalar[0][0] == 0):
            break
        index, factor = scalar[0]
        scale = scale * factor if node.op_type == "Mul" else scale / factor
        value = node.inputs[1 - index]
    return value, scale


def projection(value: ir.Value, wanted: tuple[int, ...]) -> tuple[Linear, float, ir.Node]:
    """Return (Linear, scale, Reshape) of heads made of them by Transposes that amount to `wanted`, scaled anywhere."""
    order, scale, name = tuple(range(4)), 1.0, value.name
    while True:
        value, factor = unscaled(value)
        scale *= factor
        node = made_by(value, "Transpose", "Reshape")
        value = node.inputs[0]
        if node.op_type == "Reshape":
            break
        perm = node.attributes["perm"].as_ints()
        order = tuple(perm[axis] for axis in order)
    if order != wanted:
        raise Mismatch(f"{name} is [N, L, heads, size] transposed by {list(order)}, expected {list(wanted)}")
    value, factor = unscaled(value)
    return linear(value), scale * factor, node


def head_sizes(split: ir.Node, made: Linear) -> tuple[int, int]:
    """Return (heads, size of a head) that a Reshape to [N, L, heads, size] makes, one of them may be -1."""
    shape = split.inputs[1]
    parts = [shape] if constant(shape) is not None else made_by(shape, "Concat").inputs
    tail = []
    for part in reversed(parts):
        if len(tail) >= 2 or (array := constant(part)) is None:
            break
        tail = [*array.tolist(), *tail]
    if len(tail) < 2 or sum(size > 0 for size in tail[-2:]) == 0:
        raise Mismatch(f"{split.name} does not say how many heads it makes")
    hidden = constant(made.matmul.inputs[1]).shape[1]
    heads, size = tail[-2:]
    return (heads if heads > 0 else hidden // size), (size if size > 0 else hidden // heads)


def linear(value: ir.Value) -> Linear:
    """Return the Linear that makes a value: Add and MatMul with constants, in either order of the Add's operands."""
    add = made_by(value, "Add")
    product, bias = add.inputs if constant(add.inputs[0]) is None else add.inputs[::-1]
    matmul = made_by(product, "MatMul")
    weight = constant(matmul.inputs[1])
    if constant(bias) is None or weight is None or weight.ndim != 2:
        raise Mismatch(f"{value.name} is no MatMul by a constant matrix and Add of a constant")
    return Linear(matmul.inputs[0], matmul, add)


def layer_norm(add: ir.Node) -> LayerNorm | None:
    """Return the LayerNorm that ends in this node, if one does."""
    if add.op_type != "Add" or constant(add.inputs[1]) is None:
        return None
    try:
        mul = made_by(add.inputs[0], "Mul")
        div = made_by(mul.inputs[0], "Div")
        sub, root = made_by(div.inputs[0], "Sub"), made_by(div.inputs[1], "Sqrt")
        variance = made_by(made_by(root.inputs[0], "Add").inputs[0], "ReduceMean")
        power, mean = made_by(variance.inputs[0], "Pow"), made_by(sub.inputs[1], "ReduceMean")
    except Mismatch:
        return None
    joined = power.inputs[0] is sub.outputs[0] and mean.inputs[0] is sub.inputs[0] and constant(mul.inputs[1]) is not None
    return LayerNorm(sub.inputs[0], mean, sub, add) if joined and np.all(constant(power.inputs[1]) == 2) else None


def made_by(value: ir.Value, *op_types: str) -> ir.Node:
    """Return the node that makes a value, of one of these operators."""
    node = value.producer()
    if node is None or node.op_type not in op_types:
        found = node.op_type if node is not None else "a graph input" if value.is_graph_input() else "a constant"
        raise Mismatch(f"{value.name} comes from {found}, expected {' or '.join(op_types)}")
    return node


def only_reader(value: ir.Value, op_type: str) -> ir.Node:
    """Return the one node that reads a value, of this operator; it is no output of the model besides."""
    readers = [use.node for use in value.uses()]
    op_types = [node.op_type for node in readers] + ["the caller of the model"] * value.is_graph_output()
    if op_types != [op_type]:
        raise Mismatch(f"{value.name} is read by {', '.join(op_types) or 'nothing'}, expected one {op_type}")
    return readers[0]


def one_of(found: list, what: str):
    """Return the only element."""
    if len(found) != 1:
        raise Mismatch(f"{len(found)} found, expected one: {what}")
    return found[0]
