"""The proof: it sees what a broken rewrite does, and nothing where there is nothing."""
import numpy as np
import onnx_ir as ir
import pytest
from small_berts import L, N, model_of, nodes, ragged

from npukit.errors import JobFailed, UserError
from npukit.graph import load, prove
from npukit.graph.proof import run

FEEDS = ragged([8, 1, 5, 3, 2, 7], L)


def test_a_graph_equals_itself(berts):
    closeness = prove(berts(), load(berts()), FEEDS, "nothing")
    assert (closeness["max_abs"], closeness["flips"], closeness["against"]) == (0, 0, "the graph before nothing")


def swapped_outputs(model):
    gather = ir.node("Gather", [nodes(model, "Gemm")[-1].outputs[0], constant(model, "order", np.array([1, 0, 2]))],
                     {"axis": 1})
    take_over(model, gather)


def rounded(model):
    value = nodes(model, "Tanh")[0].outputs[0]
    half = ir.node("Cast", [value], {"to": 10})
    whole = ir.node("Cast", [half.outputs[0]], {"to": 1})
    value.replace_all_uses_with(whole.outputs[0])
    half.replace_input_with(0, value)
    model.graph.insert_after(value.producer(), [half, whole])


def mask_dropped(model):
    for softmax in nodes(model, "Softmax"):
        softmax.replace_input_with(0, softmax.inputs[0].producer().inputs[0])


def not_a_number(model):
    take_over(model, ir.node("Sqrt", [nodes(model, "Gemm")[-1].outputs[0]]))


def take_over(model, node):
    """Let the node make the output in the place of the one that did."""
    old = model.graph.outputs[0]
    name, old.name = old.name, "inner"
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, old.dtype, old.shape
    model.graph.append(node)
    model.graph.outputs[:] = [node.outputs[0]]


def constant(model, name, array):
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


@pytest.mark.parametrize("spoil", [swapped_outputs, rounded, mask_dropped, not_a_number], ids=lambda f: f.__name__)
def test_damage_is_seen_and_named(berts, spoil):
    model = load(berts())
    spoil(model)
    with pytest.raises(JobFailed,
                       match=r"^surgery changed the answers: largest difference .* worst is sample \d of 6$"):
        prove(berts(), model, FEEDS, "surgery")


def test_samples_without_an_answer_prove_nothing(berts):
    model = load(berts())
    not_a_number(model)
    with pytest.raises(JobFailed, match=r"surgery cannot be proved: .* sample \d a value that is not finite"):
        prove(model, berts(), FEEDS, "surgery")


@pytest.mark.parametrize("count", [1, N, N + 1, 33, 70])
def test_batches_are_filled_up_and_cut_again(berts, count):
    feeds = ragged([1 + i % L for i in range(count)], L)
    fixed, free = run(berts(form="static"), feeds), run(berts(), feeds)
    assert [output.shape for output in fixed] == [(count, 3)]
    np.testing.assert_allclose(fixed[0], free[0], atol=1e-5)


def test_tokens_outside_do_not_count(berts):
    """What a padded token answers is nobody's business."""
    path = berts("TokenClassification")
    model = load(path)
    mask = ir.node("Cast", [model.graph.inputs[1]], {"to": 1})
    last = ir.node("Unsqueeze", [mask.outputs[0], constant(model, "axes", np.array([2]))])
    old = model.graph.outputs[0]
    model.graph.extend([mask, last])
    take_over(model, ir.node("Mul", [old, last.outputs[0]]))
    assert prove(path, model, FEEDS, "zeroing", inside=FEEDS["attention_mask"] == 1)["max_abs"] == 0
    with pytest.raises(JobFailed, match="zeroing changed the answers"):
        prove(path, model, FEEDS, "zeroing")


def test_two_outputs_are_both_compared(berts):
    path = berts("QuestionAnswering")
    model = load(path)
    assert prove(path, model, FEEDS, "nothing")["max_abs"] == 0
    end = model.graph.outputs[1]
    worse = ir.node("Neg", [end])
    name, end.name = end.name, "inner"
    worse.outputs[0].name, worse.outputs[0].dtype, worse.outputs[0].shape = name, end.dtype, end.shape
    model.graph.append(worse)
    model.graph.outputs[1] = worse.outputs[0]
    with pytest.raises(JobFailed, match="turning changed the answers"):
        prove(path, model, FEEDS, "turning")


def test_outputs_that_do_not_go_together():
    text = """<ir_version: 8, opset_import: ["": 13]>
    g (float[N, 2] x) => (float[N, 2] y, float[N, 4] z) { y = Abs(x) z = Concat<axis = 1>(x, x) }"""
    with pytest.raises(UserError, match="differ in their last dimension"):
        prove(model_of(text), model_of(text), {"x": np.ones((3, 2), np.float32)}, "nothing")
