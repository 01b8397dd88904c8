"""The canonical attention: right answers on any ragged batch, every spelling of the scale, and what is refused."""
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import onnxsim
import pytest
from hypothesis import HealthCheck, given, settings
from small_berts import COMMON, TASKS, L, N, batches, content, net, nodes, ragged, torch_answers

from npukit.errors import JobFailed
from npukit.graph import assert_canonical, big_kernel, clamp_mask, load, prove, save
from npukit.graph.onnxfile import initializer
from npukit.graph.proof import run

SHARED = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def canonical(berts):
    """Return a function: the canonical form of a small BERT, made once."""
    made = {}

    def get(*args):
        if args not in made:
            made[args] = big_kernel(berts.masked(*args))
        return made[args]
    return get


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form, shapes", [("symbolic", "computed from input_ids"), ("gears", "computed from input_ids"),
                                          ("static", "constant")])
def test_every_block_becomes_canonical(berts, canonical, task, form, shapes):
    model, said = canonical(task, form)
    assert said == ("big_kernel: 2 attention block(s) in canonical form: 4 heads of 8, scale 0.353553, "
                    f"residual flow of rank 2, shapes {shapes}")
    assert assert_canonical(model) == 2
    assert [node.name
            for node in nodes(model, "Mul") if node.name.startswith("bert_Mul_")] == ["bert_Mul_0", "bert_Mul_1"]
    assert bool(nodes(model, "Shape")) == (form != "static")
    assert prove(berts(task, form), model, ragged([L, 1, 3, 5, 2], L), "big_kernel")["flips"] == 0


@pytest.mark.parametrize("form", ["symbolic", "static"])
def test_one_mask_serves_all_blocks(berts, form):
    """And for each block one of its own, where the masks differ."""
    model = berts.masked(form=form, layers=3)
    before = len(nodes(model, "Expand"))
    assert len(nodes(big_kernel(model)[0], "Expand")) == before + 1
    add = nodes(model, "Softmax")[1].inputs[0].producer()
    other = ir.node("Mul", [add.inputs[1], initializer(model.graph, "half", np.array(0.5, np.float32))], name="other")
    model.graph.insert_before(add, other)
    add.replace_input_with(1, other.outputs[0])
    made = big_kernel(model)[0]
    assert len(nodes(made, "Expand")) == before + 2
    prove(model, made, ragged([L, 1, 3, 5, 2], L), "big_kernel")


@pytest.mark.parametrize("form", ["symbolic", "static"])
def test_the_last_hidden_states_may_be_an_output(berts, form):
    """[N, L, H] as before, under the same name."""
    model = berts.masked(form=form)
    last = nodes(model, "Sqrt")[-1]
    for _ in range(3):
        last = last.outputs[0].uses()[0].node
    hidden = last.outputs[0]
    hidden.dtype, hidden.shape = ir.DataType.FLOAT, ir.Shape([*model.graph.inputs[0].shape, 32])
    model.graph.outputs[:] = [hidden]
    made, _ = big_kernel(model)
    assert [output.name for output in made.graph.outputs] == [hidden.name]
    prove(model, made, ragged([L, 1, 3, 5, 2], L), "big_kernel")


@pytest.mark.parametrize("task", TASKS)
@SHARED
@given(feeds=batches())
def test_any_ragged_batch_of_an_open_graph(berts, canonical, task, feeds):
    same_answers(task, berts(task), canonical(task)[0], feeds)


@pytest.mark.parametrize("task", TASKS)
@SHARED
@given(feeds=batches(L))
def test_any_ragged_batch_of_a_static_graph(berts, canonical, task, feeds):
    same_answers(task, berts(task), canonical(task, "static")[0], feeds)


@SHARED
@given(feeds=batches())
def test_any_length_of_a_graph_for_gears(berts, canonical, feeds):
    same_answers(TASKS[0], berts(), canonical(TASKS[0], "gears")[0], feeds)


def same_answers(task, before, model, feeds):
    """Compare with the unmodified graph and with PyTorch."""
    prove(before, model, feeds, "big_kernel")
    for ours, reference in zip(run(model, feeds), torch_answers(net(task), feeds)):
        np.testing.assert_allclose(ours, reference, atol=1e-4 * max(1, np.abs(reference).max()))


@pytest.mark.parametrize("layers, inputs, opset", [(3, 3, 13), (2, 2, 13), (2, 3, 11)])
def test_other_depths_inputs_and_opsets(berts, layers, inputs, opset):
    path = berts(layers=layers, inputs=inputs, opset=opset)
    model, said = big_kernel(berts.masked(layers=layers, inputs=inputs, opset=opset))
    assert f"{layers} attention block(s)" in said and assert_canonical(model) == layers
    prove(path, model, ragged([6, 2, 1], 6, inputs), "big_kernel")


def test_an_exporters_mask_may_stay(berts):
    """Without additive_mask the index arithmetic remains and reads the shape of the residual flow, now of rank 2."""
    model, _ = big_kernel(clamp_mask(load(berts()))[0])
    prove(berts(), model, ragged([6, 2, 1], 6), "big_kernel")


def scales(model):
    return [node for softmax in nodes(model, "Softmax") for node in [softmax.inputs[0].producer().inputs[0].producer()]]


def as_division(model):
    for mul in scales(model):
        mul.op_type = "Div"
        mul.replace_input_with(1, initializer(model.graph, "root", np.array(8**0.5, np.float32)))


def on_the_query(model):
    move_scale(model, [0], 8**-0.5)


def its_root_on_query_and_key(model):
    """As torch's scaled_dot_product_attention is exported, from opset 14 on."""
    move_scale(model, [0, 1], 8**-0.25)


def move_scale(model, operands, factor):
    for mul in scales(model):
        product = mul.inputs[0].producer()
        for index in operands:
            constant = initializer(model.graph, "factor", np.array(factor, np.float32))
            scaled = ir.node("Mul", [constant, product.inputs[index]], name=f"{mul.name}_{index}")
            model.graph.insert_before(product, scaled)
            product.replace_input_with(index, scaled.outputs[0])
        mul.outputs[0].replace_all_uses_with(product.outputs[0])


def mask_first(model):
    for softmax in nodes(model, "Softmax"):
        add = softmax.inputs[0].producer()
        scores, mask = add.inputs
        add.replace_input_with(0, mask)
        add.replace_input_with(1, scores)


def key_in_two_steps(model):
    for node in nodes(model, "Transpose"):
        if tuple(node.attributes["perm"].as_ints()) == (0, 2, 3, 1):
            first = ir.node("Transpose", [node.inputs[0]], {"perm": [0, 2, 1, 3]}, name=f"{node.name}_first")
            model.graph.insert_before(node, first)
            node.replace_input_with(0, first.outputs[0])
            node.attributes["perm"] = ir.AttrInt64s("perm", [0, 1, 3, 2])


SPELLINGS = [as_division, on_the_query, its_root_on_query_and_key, mask_first, key_in_two_steps]


@pytest.mark.parametrize("respell", SPELLINGS, ids=lambda respell: respell.__name__)
def test_other_spellings(berts, respell):
    model = berts.masked()
    respell(model)
    made, said = big_kernel(model)
    assert "scale 0.353553" in said
    prove(berts(), made, ragged([6, 2, 1], 6), "big_kernel")


def hidden_states_out(model):
    value = nodes(model, "Softmax")[0].inputs[0].producer().inputs[0].producer().inputs[0].producer()
    value = value.inputs[0].producer().inputs[0].producer().inputs[0]  # what the query is split from
    value.shape = ir.Shape(["bs", "seq", 32])
    model.graph.outputs.append(value)


def length_normalised(model):
    mean = nodes(model, "ReduceMean")[2]
    mean.attributes["axes"] = ir.AttrInt64s("axes", [1])


def bias_of_rank_3(model):
    add = nodes(model, "Erf")[0].inputs[0].producer().inputs[0].producer()
    bias = next(value for value in add.inputs if value.const_value is not None)
    wide = initializer(model.graph, "wide", bias.const_value.numpy().reshape(1, 1, -1))
    add.replace_input_with(list(add.inputs).index(bias), wide)


def second_tensor(model):
    gelu = nodes(model, "Erf")[0]
    extra = ir.node("Cast", [model.graph.inputs[0]], {"to": 1}, name="extra")
    wide = ir.node("Unsqueeze", [extra.outputs[0], initializer(model.graph, "last", np.array([2]))], name="wide")
    added = ir.node("Add", [gelu.inputs[0], wide.outputs[0]], name="added")
    model.graph.insert_before(gelu, [extra, wide, added])
    gelu.replace_input_with(0, added.outputs[0])


def over_heads(model):
    nodes(model, "Softmax")[1].attributes["axis"] = ir.AttrInt64("axis", 1)


def swapped_perm(model):
    nodes(model, "Transpose")[0].attributes["perm"] = ir.AttrInt64s("perm", [0, 1, 2, 3])


def inputs_that_differ(model):
    model.graph.inputs[2].shape = ir.Shape(["bs", 6])


def residual_from_elsewhere(model):
    start = nodes(model, "Softmax")[1]
    residual = start.outputs[0].uses()[0].node
    for _ in range(5):
        residual = residual.outputs[0].uses()[0].node
    first_block = nodes(model, "Add")[0].outputs[0]
    index = next(i for i, value in enumerate(residual.inputs) if "LayerNorm" in value.name)
    residual.replace_input_with(index, first_block)


@pytest.mark.parametrize("spoil, why", [
    (hidden_states_out, "is an output of the model and lies within the blocks"),
    (length_normalised, "within the blocks depends on the rank of the residual flow"),
    (bias_of_rank_3, "within the blocks depends on the rank of the residual flow"),
    (second_tensor, "added within the blocks reads val_1, which comes from outside"),
    (over_heads,
     "block 1 of 2, at /bert/encoder/layer.1/attention/self/Softmax: the Softmax is not over the last axis"),
    (swapped_perm, "is [N, L, heads, size] transposed by [0, 1, 2, 3], expected [0, 2, 1, 3]"),
    (inputs_that_differ, "expected [N, L] of all"),
    (residual_from_elsewhere, "does not add the block's input"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_rewritten_is_refused_by_name_and_untouched(berts, spoil, why):
    model = berts.masked()
    spoil(model)
    before = content(model)
    with pytest.raises(JobFailed, match=r"^pass big_kernel on ") as error:
        big_kernel(model)
    assert why in str(error.value), str(error.value)
    assert content(model) == before


def test_a_graph_without_attention_and_its_file_stay_as_they_are(tmp_path):
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[N, 4] x) => (float[N, 4] y) { y = Softmax<axis = -1>(x) }"""
    path = tmp_path / "plain.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    before = path.read_bytes()
    with pytest.raises(JobFailed, match=r"pass big_kernel on .*plain.onnx: no Softmax whose result a MatMul reads"):
        big_kernel(load(path))
    assert path.read_bytes() == before


def test_what_onnxsims_optimisers_leave_is_refused(berts):
    """The reason why simplify does without them."""
    proto, _ = onnxsim.simplify(onnx.load(berts(form="static")), certify=False)
    with pytest.raises(JobFailed, match=r"attention block 0 of 2.* comes from Gemm, expected Add"):
        big_kernel(clamp_mask(ir.from_proto(proto))[0])


def test_atc_takes_the_form_in_gears(canonical, tmp_path):
    """The stand-in's compiler makes the real one's checks."""
    save(canonical(TASKS[0])[0], tmp_path / "bert.onnx")
    shape = ";".join(f"{name}:{N},-1" for name in ("input_ids", "attention_mask", "token_type_ids"))
    command = [sys.executable, COMMON / "standin" / "bin" / "atc", "--model=bert.onnx", "--framework=5",
               "--output=bert",
               "--soc_version=Ascend310P3", "--input_format=ND", f"--input_shape={shape}", "--dynamic_dims=4,4,4;8,8,8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "bert.om").is_file(), done.stdout + done.stderr
