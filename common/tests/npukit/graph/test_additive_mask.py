"""The mask in plain form: equal to what the exporter made, and refused where it is anything but a padding mask."""
import re

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from small_berts import FORMS, TASKS, L, batches, content, model_of, nodes, ragged

from npukit.errors import JobFailed
from npukit.graph import additive_mask, clamp_mask, load, prove

FLAT = """<ir_version: 8, opset_import: ["": {opset}]>
g (int64[N, L] mask, float[N, 2, L, L] scores) => (float[N, 2, L, L] out)
<int64[2] axes = {{1, 2}}, float one = {{1}}, float low = {{-1000}}> {{
    {body}
    masked = Add(scores, added)
    out = Softmax<axis = -1>(masked)
}}"""
WIDE = "wide = Unsqueeze(mask, axes) number = Cast<to = 1>(wide) "


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("form", FORMS)
def test_the_exporters_nodes_go_and_the_answers_stay(berts, form, opset):
    path = berts(form=form, opset=opset)
    clamped, _ = clamp_mask(load(path))
    model, said = additive_mask(clamped)
    before, after = map(int,
                        re.fullmatch(r"additive_mask: 1 mask\(s\) made of attention_mask as \(1 - mask\) \* -10000; "
                                          r"(\d+) nodes became (\d+)", said).groups())
    assert after == len(list(model.graph)) < before
    assert not {"And", "Where", "GreaterOrEqual", "Range"} & {node.op_type for node in model.graph}
    if opset == 13:
        assert [node.op_type
                for node in model.graph if node.name.startswith("mask_")] == ["Unsqueeze", "Cast", "Sub", "Mul"]
    assert prove(path, model, ragged([L, 3, 1], L), "additive_mask")["max_abs"] < 1e-6


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(feeds=batches())
@pytest.mark.parametrize("task", TASKS)
def test_any_ragged_batch_gives_the_same_answers(berts, task, feeds):
    assert prove(berts(task), berts.masked(task), feeds, "additive_mask")["flips"] == 0


@pytest.mark.parametrize("body, why", [
    (WIDE + "added = Mul(number, low)", "it is not 0 where the mask is 1"),
    (WIDE + "more = Sub(one, number) most = Mul(more, low) added = Mul(most, number)",
     "it is not 0 where the mask is 1"),
    (WIDE + "less = Sub(one, number) added = Mul(less, lowest)",
     "-3.40282e+38, which half precision cannot hold; apply clamp"),
])
def test_what_is_no_padding_mask_is_refused(body, why):
    text = FLAT.format(body=body, opset=13).replace("float low", "float lowest = {-3.4028234e38}, float low")
    refuse(model_of(text), why)


def test_a_causal_mask_is_refused():
    """The lower triangle depends on the length alone, the rest on the mask."""
    body = WIDE + ("less = Sub(one, number) padding = Mul(less, low) size = Shape(mask) length = Gather<axis = 0>(size, last) "
                   "square = Concat<axis = 0>(length, length) full = ConstantOfShape<value = float[1] {-1}>(square) "
                   "causal = CumSum(full, axis) added = Add(padding, causal)")
    text = FLAT.format(body=body, opset=13).replace("float one", "int64 axis = {1}, int64[1] last = {1}, float one")
    refuse(model_of(text), "added is no padding mask of mask")


def test_no_mask_at_all():
    text = FLAT.format(body="added = Identity(one)", opset=13)
    refuse(model_of(text),
           "no Softmax has an Add before it with an operand made of one input, int64 [N, L], without a MatMul")


def test_scores_made_of_one_input_are_no_mask(berts):
    """Query times key comes from one input too, but by a MatMul."""
    model = berts.masked(inputs=2)
    mul = next(node for node in nodes(model, "Mul") if node.name == "mask_0_Mul")
    mul.outputs[0].replace_all_uses_with(model.graph.initializers["mask_one"])
    refuse(model, "no Softmax has an Add before it")


def test_a_mask_that_keeps_its_first_token_is_seen(berts):
    """Random masks tell a rule that ragged ones may not."""
    clamped, _ = clamp_mask(load(berts(form="static")))
    where, = nodes(clamped, "Where")
    first = np.zeros((1, 1, 1, L), bool)
    first[..., 0] = True
    constant = ir.Value(name="first", const_value=ir.tensor(first, name="first"))
    clamped.graph.register_initializer(constant)
    either = ir.node("Or", [where.inputs[0], constant], name="either")
    clamped.graph.insert_before(where, either)
    where.replace_input_with(0, either.outputs[0])
    refuse(clamped, "no padding mask of attention_mask")


def refuse(model, why):
    before = content(model)
    with pytest.raises(JobFailed, match=r"^pass additive_mask on ") as error:
        additive_mask(model)
    assert why in str(error.value) and content(model) == before
