"""The checker of the canonical form: every rule of it has a graph that breaks it."""
import numpy as np
import onnx_ir as ir
import pytest
from small_berts import content, model_of, nodes, ragged

from npukit.errors import JobFailed
from npukit.graph import assert_canonical, big_kernel, prove
from npukit.graph.blocks import Mismatch
from npukit.graph.canonical import centred, check_layer_norm
from npukit.graph.onnxfile import initializer


@pytest.fixture(scope="module")
def made(berts):
    return big_kernel(berts.masked(form="static"))[0]


@pytest.fixture
def canonical(made):
    return made.clone()


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


def scale_named_as_an_optimiser(model):
    """ATC leaves them alone: the Mul and Add of Adam's and Lamb's steps."""
    named(model, "bert_Mul_1").name = "bert_lambda_1"


def scale_first(model):
    swap(named(model, "bert_Mul_1"))


def scale_divides(model):
    named(model, "bert_Mul_1").op_type = "Div"


def scale_per_head(model):
    scale = initializer(model.graph, "many", np.full((4, 1, 1), 0.35, np.float32))
    named(model, "bert_Mul_1").replace_input_with(1, scale)


def mask_not_expanded(model):
    expand = named(model, "bert_mask_0")
    expand.outputs[0].replace_all_uses_with(expand.inputs[0])


def mask_of_one_sample(model):
    """[1, 1, L, L] for a batch of four."""
    mask = initializer(model.graph, "one_for_all", np.zeros((1, 1, 8, 8), np.float32))
    named(model, "bert_1_masked").replace_input_with(1, mask)


def mask_of_every_head(model):
    mask = initializer(model.graph, "a_head_each", np.zeros((4, 4, 8, 8), np.float32))
    named(model, "bert_1_masked").replace_input_with(1, mask)


def scale_read_twice(model):
    model.graph.append(ir.node("Relu", [named(model, "bert_Mul_1").outputs[0]], name="reader"))


def scores_out(model):
    model.graph.outputs.append(named(model, "bert_1_product").outputs[0])


def key_read_twice(model):
    model.graph.append(ir.node("Relu", [named(model, "bert_1_key_transpose_2").outputs[0]], name="reader"))


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


def over_heads(model):
    nodes(model, "Softmax")[1].attributes["axis"] = ir.AttrInt64("axis", 1)


def fifth_reader(model):
    start = named(model, "bert_1_query_split").inputs[0].producer().inputs[0].producer().inputs[0]
    model.graph.append(ir.node("Relu", [start], name="fifth"))


def other_order(model):
    """The key's MatMul before the query's."""
    key, query = (named(model, f"bert_1_{name}_split").inputs[0].producer().inputs[0].producer()
                  for name in ("key", "query"))
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
    (scale_unnamed, "the scale is named Mul_1, expected a name with `bert` in it and neither `adam` nor `lamb`"),
    (scale_named_as_an_optimiser, "the scale is named bert_lambda_1, expected a name with `bert` in it and neither"),
    (scale_first, "bert_Mul_1 has no constant scalar as its second operand"),
    (scale_divides, "comes from Div, expected Mul"),
    (scale_per_head, "bert_Mul_1 has no constant scalar as its second operand"),
    (mask_not_expanded, "is [4,1,1,8], expected [N, 1, L, L] exactly"),
    (mask_of_one_sample, "the mask one_for_all is [1,1,8,8], expected [N, 1, L, L] exactly"),
    (mask_of_every_head, "the mask a_head_each is [4,4,8,8], expected [N, 1, L, L] exactly"),
    (scale_read_twice, "bert_Mul_1 is read by Add, Relu, expected one Add"),
    (scores_out, "bert_1_product is read by Mul, the caller of the model, expected one Mul"),
    (key_read_twice, "bert_1_key_transpose_2 is read by MatMul, Relu, expected one MatMul"),
    (key_in_one_step, "bert_1_key_transpose_2 transposes by [0, 2, 3, 1], expected [0, 1, 3, 2]"),
    (query_not_transposed, "bert_1_query_transpose transposes by [0, 1, 2, 3], expected [0, 2, 1, 3]"),
    (context_not_transposed, "bert_1_context_transpose transposes by [0, 1, 2, 3], expected [0, 2, 1, 3]"),
    (merge_to_rank_3, "bert_1_merge does not merge the heads to a constant shape of rank 2"),
    (over_heads, "is over axis 1, not the last"),
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


# --- LayerNorms -----------------------------------------------------------------------------------------------------


def layer_norm_of(model, number):
    """Return the nodes of a LayerNorm by operator, its second Mul, Add and ReduceMean as scale, shift and variance."""
    sub = [node for node in nodes(model, "Sub") if node.inputs[1].name.endswith("ReduceMean_output_0")][number]
    chain, node = {"mean": sub.inputs[1].producer(), "sub": sub}, next(u.node for u in sub.outputs[0].uses()
                                                                       if u.node.op_type == "Pow")
    for name in ("power", "variance", "add", "root", "div", "scale", "shift"):
        chain[name] = node
        node = node.outputs[0].uses()[0].node
    return chain


def value_of(node):
    return node.inputs[1].const_value.numpy()


def replace_second(model, node, array):
    node.replace_input_with(1, initializer(model.graph, f"{node.name}_new", np.array(array, np.float32)))


def norm_in_two_pieces(model, norm):
    """A Reshape between Mul and Add, as MagicONNX has it."""
    put_behind(model, norm["scale"].name, "Reshape", [initializer(model.graph, "flat", np.array([-1, 32]))])


def norm_weight_first(model, norm):
    swap(norm["scale"])


def norm_bias_first(model, norm):
    swap(norm["shift"])


def norm_weight_of_rank_2(model, norm):
    replace_second(model, norm["scale"], value_of(norm["scale"])[None])


def norm_weight_a_scalar(model, norm):
    replace_second(model, norm["scale"], 1.5)


def norm_weight_computed(model, norm):
    weight = ir.node("Relu", [norm["scale"].inputs[1]], name="weight")
    model.graph.insert_before(norm["mean"], weight)
    norm["scale"].replace_input_with(1, weight.outputs[0])


def norm_without_bias(model, norm):
    norm["shift"].op_type = "Mul"


def norm_cubed(model, norm):
    replace_second(model, norm["power"], 3)


def norm_by_a_square(model, norm):
    """A form that another pass takes."""
    norm["power"].op_type = "Mul"
    norm["power"].replace_input_with(1, norm["power"].inputs[0])


def norm_with_a_large_epsilon(model, norm):
    replace_second(model, norm["add"], 0.2)


def norm_with_many_epsilons(model, norm):
    replace_second(model, norm["add"], [[1e-12]])


def norm_over_all(model, norm):
    norm["variance"].attributes["axes"] = ir.AttrInt64s("axes", [0, 1])


def norm_without_keepdims(model, norm):
    norm["mean"].attributes["keepdims"] = ir.AttrInt64("keepdims", 0)


def norm_deviation_read_thrice(model, norm):
    model.graph.append(ir.node("Relu", [norm["sub"].outputs[0]], name="reader"))


def norm_variance_out(model, norm):
    model.graph.outputs.append(norm["variance"].outputs[0])


def norm_root_read_twice(model, norm):
    model.graph.append(ir.node("Relu", [norm["root"].outputs[0]], name="reader"))


def norm_divided_the_wrong_way(model, norm):
    swap(norm["div"])


@pytest.mark.parametrize("number", [0, 1, 3])  # the embeddings', and those after attention, at which no block starts
@pytest.mark.parametrize("spoil, why", [
    (norm_in_two_pieces, "is read by Reshape, expected one Add"),
    (norm_weight_first, "has no constant of the last axis' size as its second operand"),
    (norm_bias_first, "has no constant of the last axis' size as its second operand"),
    (norm_weight_of_rank_2, "has no constant of the last axis' size as its second operand"),
    (norm_weight_a_scalar, "has no constant of the last axis' size as its second operand"),
    (norm_weight_computed, "has no constant of the last axis' size as its second operand"),
    (norm_without_bias, "is read by Mul, expected one Add"),
    (norm_cubed, "is no Pow by 2"),
    (norm_by_a_square, "is read by Div, Mul, Mul, expected Pow and Div"),
    (norm_with_a_large_epsilon, "does not add a scalar up to 0.1"),
    (norm_with_many_epsilons, "does not add a scalar up to 0.1"),
    (norm_over_all, "is over axes (0, 1), expected the last"),
    (norm_without_keepdims, "does not keep the axis"),
    (norm_deviation_read_thrice, "is read by Div, Pow, Relu, expected Pow and Div"),
    (norm_variance_out, "is read by Add, the caller of the model, expected one Add"),
    (norm_root_read_twice, "is read by Div, Relu, expected one Div"),
    (norm_divided_the_wrong_way, "does not divide"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_every_layer_norm_has_to_be_one_that_atc_fuses(canonical, spoil, why, number):
    spoil(canonical, layer_norm_of(canonical, number))
    with pytest.raises(Mismatch) as error:
        for sub in centred(canonical):
            check_layer_norm(sub)
    assert why in str(error.value), str(error.value)
    with pytest.raises(JobFailed, match=r"^(LayerNorm|block) [0-3] is not canonical: "):
        assert_canonical(canonical)


@pytest.mark.parametrize("form", ["static", "gears", "symbolic"])
def test_all_layer_norms_are_whole(berts, form):
    """Of three layers seven: the embeddings', and two a layer."""
    model = big_kernel(berts.masked(form=form, layers=3))[0]
    assert len(centred(model)) == 7 == len(nodes(model, "Sqrt"))
    for sub in centred(model):
        check_layer_norm(sub)


# --- Other tools' form ----------------------------------------------------------------------------------------------


def mask_for_each_block(model):
    """As both tools do."""
    expand = named(model, "bert_mask_0")
    for number in (0, 1):
        own = ir.node("Expand", list(expand.inputs), name=f"{number}.mask_expand")
        model.graph.insert_after(expand, own)
        own.outputs[0].shape = expand.outputs[0].shape
        named(model, f"bert_{number}_masked").replace_input_with(1, own.outputs[0])


def as_msit_writes(model):
    """Names of its own, a mask for each block; Reshapes before the first LayerNorm and after the last."""
    mask_for_each_block(model)
    for number in (0, 1):
        named(model, f"bert_Mul_{number}").name = f"bert_{number}.mul"
        named(model, f"bert_{number}_product").name = f"{number}.qk_matmul"
    named(model, "bert_flatten").name = "0_layer_norm_reshape"
    named(model, "bert_unflatten").name = "4_layer_norm_reshape"


def as_magiconnx_leaves_attention(model):
    """A mask for each block; what old exporters wrote stays: axis 3, biases and masks first, numbers in names."""
    mask_for_each_block(model)
    for number, softmax in enumerate(nodes(model, "Softmax")):
        softmax.attributes["axis"] = ir.AttrInt64("axis", 3)
        swap(named(model, f"bert_{number}_masked"))
        for name in ("query", "key", "value"):
            swap(named(model, f"bert_{number}_{name}_split").inputs[0].producer())
        named(model, f"bert_Mul_{number}").name = f"bert_Mul_{90 + number}"


def as_magiconnx_leaves_layer_norms(model):
    """Its Reshapes stand within each LayerNorm at which a block starts or the last one ends."""
    for number in (0, 2, 4):
        norm_in_two_pieces(model, layer_norm_of(model, number))


@pytest.mark.parametrize("write", [as_msit_writes, as_magiconnx_leaves_attention], ids=lambda write: write.__name__)
def test_what_other_tools_write_is_taken(berts, canonical, write):
    write(canonical)
    canonical.graph.sort()
    assert assert_canonical(canonical) == 2
    prove(berts(form="static"), canonical, ragged([8, 1, 3, 5], 8), "other tools' form")


def test_magiconnxs_layer_norms_are_in_two_pieces(canonical):
    """Three of five. AttentionLnQKV begins with a whole LayerNorm, so that it has nothing to begin with either."""
    as_magiconnx_leaves_attention(canonical)
    as_magiconnx_leaves_layer_norms(canonical)
    whole = 0
    for sub in centred(canonical):
        try:
            check_layer_norm(sub)
            whole += 1
        except Mismatch as error:
            assert "is read by Reshape, expected one Add" in str(error)
    assert whole == 2
    with pytest.raises(JobFailed, match="is not canonical"):
        assert_canonical(canonical)


def test_the_exported_form_is_not_canonical_and_a_graph_without_attention_neither(berts):
    with pytest.raises(JobFailed, match="block 0 is not canonical"):
        assert_canonical(berts.masked())
    with pytest.raises(JobFailed, match="no attention"):
        assert_canonical(model_of('<ir_version: 8, opset_import: ["": 13]> g (float[2] x) => (float[2] y) { y = Softmax(x) }'))


def test_the_checker_changes_nothing(canonical):
    before = content(canonical)
    assert_canonical(canonical)
    assert content(canonical) == before
