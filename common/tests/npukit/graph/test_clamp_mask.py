"""The mask's constant: found by where it flows, equal in fp32, and what half precision does without the pass."""
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from small_berts import FORMS, L, batches, content, in_half, model_of, ragged

from npukit.errors import JobFailed
from npukit.graph import apply, clamp_mask, load, prove
from npukit.graph.proof import run

LOWEST = np.finfo(np.float32).min
TEXT = """<ir_version: 8, opset_import: ["": 13]>
g (float[N, 4] scores, float[N, 4] mask) => (float[N, 4] out)
<float low = {{{low}}}, float one = {{1}}> {{
    {body}
}}"""
MULTIPLIED = "absent = Sub(one, mask) added = Mul(absent, low) masked = Add(scores, added) out = Softmax<axis = -1>(masked)"
SELECTED = "zero = Sub(one, one) keep = Cast<to = 9>(mask) masked = Where(keep, scores, low) out = Softmax<axis = -1>(masked)"
SCORES = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], np.float32)
MASK = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], np.float32)


def values(model, name):
    return model.graph.initializers[name].const_value.numpy().tolist()


@pytest.mark.parametrize("form", FORMS)
def test_the_exporters_constant_is_found_and_the_answers_stay(berts, form):
    path = berts(form=form)
    model, said = clamp_mask(load(path))
    assert said == "clamp_mask: 1 mask constant(s), down to -3.40282e+38, became -10000 in 1 place(s)"
    low = [value.const_value.numpy().min()
           for value in model.graph.initializers.values() if value.dtype == ir.DataType.FLOAT]
    assert min(low) == -10000
    assert prove(path, model, ragged([L, 3, 1], L), "clamp_mask")["max_abs"] == 0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(feeds=batches())
def test_any_ragged_batch_gives_the_same_answers_exactly(berts, feeds):
    path = berts()
    assert prove(path, clamp_mask(load(path))[0], feeds, "clamp_mask")["max_abs"] == 0


@pytest.mark.parametrize("body, low", [(MULTIPLIED, -3e38), (SELECTED, -3e38), (SELECTED, "-inf")])
def test_other_ways_to_write_a_mask(body, low):
    model = model_of(TEXT.format(body=body, low=-3e38))
    if low == "-inf":
        model.graph.initializers["low"].const_value = ir.tensor(np.float32(-np.inf), name="low")
    clamped, _ = clamp_mask(model)
    feeds = {"scores": SCORES, "mask": MASK}
    np.testing.assert_array_equal(run(clamped, feeds)[0], run(model, feeds)[0])


def test_only_what_is_too_low_is_raised_and_only_where_it_masks():
    body = ("added = Unsqueeze(low, axis) wide = Identity(added) masked = Add(scores, wide) soft = Softmax<axis = -1>(masked) "
            "is_low = Equal(scores, low) other = Cast<to = 1>(is_low) out = Add(soft, other)")
    text = TEXT.format(body=body, low=0).replace("float low = {0}",
                                                 "float[4] low = {0, -70000, -65504, -1}, int64[1] axis = {0}")
    model, said = clamp_mask(model_of(text), value=-1000.0)
    assert "1 mask constant(s), down to -70000, became -1000 in 1 place(s)" in said
    assert values(model, "low_clamped") == [0, -1000, -65504, -1]
    assert values(model, "low") == [0, -70000, -65504, -1], "the comparison keeps its constant"


@pytest.mark.parametrize("body, low, found", [
    (MULTIPLIED, -65504, "has 0 such constant(s) and 1 Softmax"),
    ("out = Add(scores, low)", -3e38, "has 1 such constant(s) and 0 Softmax"),
    ("wide = Mul(mask, low) product = MatMul(wide, square) out = Softmax<axis = -1>(product)", -3e38,
     "has 1 such constant(s)")])
def test_a_graph_without_such_a_constant_is_refused_and_untouched(body, low, found):
    text = TEXT.format(body=body, low=low).replace("float one",
                                                   f"float[4, 4] square = {{{','.join('1' * 16)}}}, float one")
    model = model_of(text)
    before = content(model)
    with pytest.raises(JobFailed,
                       match="pass clamp_mask on g: no float constant below -65504 flows into a Softmax") as error:
        clamp_mask(model)
    assert found in str(error.value) and content(model) == before


def test_in_half_precision_a_multiplied_mask_makes_every_row_nan():
    model = model_of(TEXT.format(body=MULTIPLIED, low=LOWEST))
    feeds = {"scores": SCORES, "mask": MASK}
    assert np.isnan(run(in_half(model), feeds)[0]).all(), "0 * -inf"
    clamped, _ = clamp_mask(model)
    np.testing.assert_allclose(run(in_half(clamped), feeds)[0], run(model, feeds)[0], atol=1e-3)


def test_in_half_precision_a_row_masked_altogether_is_nan_without_the_pass(berts):
    """transformers 5 selects the constant, so that a row goes wrong where all of it is masked: a batch filled up with nothing."""
    path = berts(form="static")
    feeds = ragged([L, 3, 0], L)
    model, clamped = load(path), apply(load(path), [clamp_mask])[0]
    assert np.isnan(run(in_half(model), feeds)[0]).any(axis=1).tolist() == [False, False, True]
    answers = run(in_half(clamped), feeds)[0]
    assert np.isfinite(answers).all()
    np.testing.assert_allclose(answers[:2], run(path, feeds)[0][:2], atol=0.02)
