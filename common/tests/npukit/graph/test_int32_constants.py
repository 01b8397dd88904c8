"""int64 made int32 where ONNX lets it, and nowhere else."""
import numpy as np
import onnx_ir as ir
import pytest
from small_berts import content, model_of, nodes, ragged

from npukit.errors import JobFailed
from npukit.graph import int32_constants, prove
from npukit.graph.proof import run

HEAD = """<ir_version: 8, opset_import: ["": 13]>
g (float[6, 2] table, int64[N] ids) => (float[A, B] out)
<int64 two = {2}, int64[2] pair = {3, 1}, int64[1] zero = {0}, int64[1] one = {1}, int64[6] places = {0, 1, 2, 3, 4, 5},
 int64[2] wide = {6, 2}, int64 big = {3000000000}> {"""
FEEDS = {"table": np.arange(12, dtype=np.float32).reshape(6, 2), "ids": np.array([1, 0, 2, 5, 4, 3])}


def dtypes(model):
    return {value.name: value.dtype.name for value in model.graph.initializers.values()}


@pytest.mark.parametrize("body, count, stay", [
    ("out = Gather<axis = 0>(table, pair)", 1, set()),
    ("part = Slice(places, zero, one) out = Gather<axis = 0>(table, part)", 1, {"zero", "one"}),
    ("more = Add(pair, two) less = Sub(more, pair) out = Gather<axis = 0>(table, less)", 2, set()),
    ("kept = Cast<to = 7>(table) big_ones = Greater(kept, two) out = Cast<to = 1>(big_ones)", 1, set()),
    ("kept = Cast<to = 7>(table) plus = Add(kept, two) out = Cast<to = 1>(plus)", 1, set()),
    ("rows = Gather<axis = 0>(table, pair) more = Concat<axis = 0>(one, two_) out = Reshape(rows, pair_)", 1,
     {"pair_"}),
])
def test_indices_and_chains_that_end_in_them(body, count, stay):
    text = HEAD.replace("int64 big", "int64[1] two_ = {2}, int64[2] pair_ = {2, 2}, int64 big") + body + "}"
    model = model_of(text)
    made, said = int32_constants(model)
    assert said.startswith(f"int32_constants: {count} int64 constant(s)")
    assert len(nodes(made, "Cast")) == len(nodes(model, "Cast"))
    assert {name for name, dtype in dtypes(made).items() if dtype == "INT64"
            and made.graph.initializers[name].uses()} == stay
    np.testing.assert_array_equal(run(made, FEEDS)[0], run(model, FEEDS)[0])


def test_a_constant_with_two_readers_is_int32_for_one_of_them():
    head = HEAD.replace("int64 big", "int64[2] both = {2, 2}, int64 big")
    model = model_of(head + "rows = Gather<axis = 0>(table, both) out = Reshape(rows, both) }")
    made, _ = int32_constants(model)
    gather, reshape = nodes(made, "Gather")[0], nodes(made, "Reshape")[0]
    assert (gather.inputs[1].dtype, reshape.inputs[1].dtype) == (ir.DataType.INT32, ir.DataType.INT64)
    np.testing.assert_array_equal(run(made, FEEDS)[0], run(model, FEEDS)[0])


@pytest.mark.parametrize("body", [
    "out = Gather<axis = 0>(table, ids)",
    "out = Reshape(table, wide)",
    "sum_ = Add(ids, places) out = Gather<axis = 0>(table, sum_)",
    "size = Shape(table) rest = Sub(size, one) out = Expand(table, size)",
])
def test_inputs_and_shapes_stay_and_nothing_to_do_is_a_failure(body):
    model = model_of(HEAD + body + "}")
    before = content(model)
    with pytest.raises(JobFailed, match="pass int32_constants on g: no int64 constant or Cast that ONNX lets be int32"):
        int32_constants(model)
    assert content(model) == before


def test_what_does_not_fit_is_refused_by_name():
    model = model_of(HEAD + "kept = Cast<to = 7>(table) large = Greater(kept, big) out = Cast<to = 1>(large) }")
    before = content(model)
    with pytest.raises(JobFailed, match=r"constant big holds 3000000000, beyond int32 \(-2147483648 to 2147483647\)"):
        int32_constants(model)
    assert content(model) == before


@pytest.mark.parametrize("form, count", [("symbolic", 7), ("static", 1)])
def test_a_bert(berts, form, count):
    """Of a static graph, the pooler's index is what is left."""
    model = berts.masked(form=form)
    made, said = int32_constants(model)
    assert f"{count} int64 constant(s)" in said
    assert [value.dtype for value in made.graph.inputs] == [ir.DataType.INT64] * 3
    assert prove(berts(form=form), made, ragged([8, 2, 1], 8), "int32_constants")["flips"] == 0
