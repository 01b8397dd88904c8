"""The checker of the canonical form: every rule of it has a graph that breaks it."""
import numpy as np
import onnx_ir as ir
import pytest
from graph.small_berts import content, model_of, nodes

from npukit.errors import JobFailed
from npukit.graph import assert_canonical, big_kernel
from npukit.graph.onnxfile import initializer


@pytest.fixture
def canonical(berts):
    return big_kernel(berts.masked(form="static"))[0]


def named(model, name):
    return next(node for node in model.graph if node.name == name)


def put_behind(model, name, op_type, inputs=(), **attributes):
    """Insert a node behind the named one; its other inputs follow."""
    node = named(model, name)
    more = ir.node(op_type, [node.outputs[0], *inputs], attributes, name=f"{name}_more")
    node.outputs[0].replace_all_uses_with(more.outputs[0])
    more.replace_input_with(0, node.outputs[0])
    model.graph.insert_after(node, more)
    return more


def swap(node):
    first, second = node.inputs
    node.replace_input_with(0, second)
    node.replace_input_with(1, first)


def scale_unnamed(model):
    named(model, "bert_Mul_1").name = "Mul_1"


def scale_first(model):
    swap(named(model, "bert_Mul_1"))


def scale_divides(model):
    named(model, "bert_Mul_1").op_type = "Div"


def scale_per_head(model):
    scale = initializer(model.graph, "many", np.full((4, 1, 1), 0.35, np.float32))
    named(model, "bert_Mul_1").replace_input_with(1, scale)


def mask_not_expanded(model):
    expand = named(model, "bert_1_mask")
    expand.outputs[0].replace_all_uses_with(expand.inputs[0])


def mask_shared(model):
    named(model, "bert_1_masked").replace_input_with(1, named(model, "bert_0_mask").outputs[0])


def mask_before_scale(model):
    swap(named(model, "bert_1_masked"))


def key_in_one_step(model):
    first, second = named(model, "bert_1_key_transpose"), named(model, "bert_1_key_transpose_2")
    second.replace_input_with(0, first.inputs[0])
    second.attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 3, 1])


def query_not_transposed(model):
    named(model, "bert_1_query_transpose").attributes["perm"] = ir.AttrInt64s("perm", [0, 1, 2, 3])


def context_not_transposed(model):
    named(model, "bert_1_context_transpose").attributes["perm"] = ir.AttrInt64s("perm", [0, 1, 2, 3])


def merge_to_rank_3(model):
    named(model, "bert_1_merge").replace_input_with(1, initializer(model.graph, "whole", np.array([4, 8, 32])))


def bias_first(model):
    swap(named(model, "bert_1_value_split").inputs[0].producer())


def softmax_axis_3(model):
    nodes(model, "Softmax")[1].attributes["axis"] = ir.AttrInt64("axis", 3)


def fifth_reader(model):
    start = named(model, "bert_1_query_split").inputs[0].producer().inputs[0].producer().inputs[0]
    model.graph.append(ir.node("Relu", [start], name="fifth"))


def other_order(model):
    """The key's MatMul before the query's."""
    key, query = (named(model, f"bert_1_{name}_split").inputs[0].producer().inputs[0].producer() for name in ("key", "query"))
    model.graph.remove(key)
    model.graph.insert_before(query, key)


def rank_3(model):
    start = named(model, "bert_1_query_split").inputs[0].producer().inputs[0].producer().inputs[0]
    start.shape = ir.Shape([4, 8, 32])


def no_layer_norm_before(model):
    start = named(model, "bert_1_query_split").inputs[0].producer().inputs[0].producer().inputs[0]
    put_behind(model, start.producer().name, "Relu").outputs[0].shape = start.shape


def no_layer_norm_after(model):
    residual = named(model, "bert_1_merge").outputs[0].uses()[0].node
    for _ in range(2):
        residual = residual.outputs[0].uses()[0].node
    put_behind(model, residual.name, "Relu")


@pytest.mark.parametrize("spoil, why", [
    (scale_unnamed, "the scale is named Mul_1, expected bert_Mul_<n>"),
    (scale_first, "bert_Mul_1 has no constant scalar as its second operand"),
    (scale_divides, "comes from Div, expected Mul"),
    (scale_per_head, "bert_Mul_1 has no constant scalar as its second operand"),
    (mask_not_expanded, "comes from Mul, expected Expand"),
    (mask_shared, "bert_0_mask is shared between blocks"),
    (mask_before_scale, "comes from Expand, expected Mul"),
    (key_in_one_step, "bert_1_key_transpose_2 transposes by [0, 2, 3, 1], expected [0, 1, 3, 2]"),
    (query_not_transposed, "bert_1_query_transpose transposes by [0, 1, 2, 3], expected [0, 2, 1, 3]"),
    (context_not_transposed, "bert_1_context_transpose transposes by [0, 1, 2, 3], expected [0, 2, 1, 3]"),
    (merge_to_rank_3, "bert_1_merge does not merge the heads to a constant shape of rank 2"),
    (bias_first, "does not have its constant as second operand"),
    (softmax_axis_3, "is not over axis -1"),
    (fifth_reader, "'fifth'], expected MatMul of query, key, value, and the residual Add"),
    (other_order, "expected MatMul of query, key, value, and the residual Add"),
    (rank_3, "is not of rank 2 but [4,8,32]"),
    (no_layer_norm_before, "comes from Relu, expected Add"),
    (no_layer_norm_after, "is not followed by a LayerNorm alone"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_each_rule_has_a_graph_that_breaks_it(canonical, spoil, why):
    assert assert_canonical(canonical) == 2
    spoil(canonical)
    with pytest.raises(JobFailed, match=r"^block [01] is not canonical: ") as error:
        assert_canonical(canonical)
    assert why in str(error.value), str(error.value)


def test_the_exported_form_is_not_canonical_and_a_graph_without_attention_neither(berts):
    with pytest.raises(JobFailed, match="block 0 is not canonical"):
        assert_canonical(berts.masked())
    with pytest.raises(JobFailed, match="no attention"):
        assert_canonical(model_of('<ir_version: 8, opset_import: ["": 13]> g (float[2] x) => (float[2] y) { y = Softmax(x) }'))


def test_the_checker_changes_nothing(canonical):
    before = content(canonical)
    assert_canonical(canonical)
    assert content(canonical) == before
