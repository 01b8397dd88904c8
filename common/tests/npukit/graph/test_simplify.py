"""onnxsim: what it leaves, and each promise about its result with a case that breaks it."""
import numpy as np
import onnx
import onnxsim
import pytest
from small_berts import NAMES, TASKS, L, N, ragged

from npukit.errors import JobFailed, UserError
from npukit.graph import load, signature, simplify

FEEDS = ragged([L, 1, 3, 5, 2], L)
SHAPES = {name: [N, L] for name in NAMES}


@pytest.mark.parametrize("task", TASKS)
def test_a_static_graph_has_only_numbers(berts, task, tmp_path):
    closeness = simplify(berts(task), tmp_path / "s.onnx", SHAPES, FEEDS)
    model = load(tmp_path / "s.onnx")
    assert closeness["flips"] == 0 and closeness["max_abs"] <= closeness["tolerance"]
    assert signature(model.graph.inputs) == {name: ("int64", (N, L)) for name in NAMES}
    assert all(isinstance(dim, int) for _, dims in signature(model.graph.outputs).values() for dim in dims)
    op_types = {node.op_type for node in model.graph}
    assert not op_types & {"Shape", "Range", "Constant", "Identity", "ConstantOfShape"}
    assert "Gemm" not in op_types or task == "SequenceClassification", "no MatMul and Add are fused"


def test_a_graph_for_gears_has_one_dimension_open(berts, tmp_path):
    simplify(berts(), tmp_path / "s.onnx", {name: [N, "seq"] for name in NAMES}, FEEDS)
    model = load(tmp_path / "s.onnx")
    assert signature(model.graph.inputs) == {name: ("int64", (N, "seq")) for name in NAMES}
    dtype, (_, classes) = signature(model.graph.outputs)["output"]
    assert (dtype, classes) == ("float32", 3)


@pytest.mark.parametrize("shapes, why", [
    ({**SHAPES, "input_ids": [N, L, 1]}, r"input input_ids is \['bs', 'seq'\]; \[4, 8, 1\] is asked for"),
    ({name: [N, L] for name in NAMES[:2]}, "token_type_ids; shapes are given for input_ids, attention_mask"),
    ({**SHAPES, "inputs": [N, L]}, "has the inputs"),
    ({}, "shapes are given for none")])
def test_shapes_that_do_not_fit(berts, tmp_path, shapes, why):
    refuse(UserError, why, berts(), tmp_path, shapes)


def test_a_dimension_that_is_fixed_already(berts, tmp_path):
    refuse(UserError, r"input_ids is \[4, 8\]; \[2, 8\] is asked for", berts(form="static"), tmp_path,
           {n: [2, L] for n in NAMES})


def renamed(proto):
    proto.graph.output[0].name = proto.graph.node[-1].output[0] = "other"


def input_renamed(proto):
    for node in proto.graph.node:
        node.input[:] = ["tokens" if name == "input_ids" else name for name in node.input]
    proto.graph.input[0].name = "tokens"


def reordered(proto):
    first = onnx.ValueInfoProto()
    first.CopyFrom(proto.graph.input[0])
    del proto.graph.input[0]
    proto.graph.input.append(first)


def retyped(proto):
    proto.graph.input[2].type.tensor_type.elem_type = onnx.TensorProto.INT32


def other_shape(proto):
    for value in proto.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 2


def open_output(proto):
    """Of a number of rows that depends on the data."""
    proto.graph.node[-1].output[0] = "all"
    rows = onnx.numpy_helper.from_array(np.ones(N, bool), "rows")
    proto.graph.initializer.append(rows)
    proto.graph.node.append(onnx.helper.make_node("Compress", ["all", "rows"], ["output"], axis=0))
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "bs"


def second_domain(proto):
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))


def other_answers(proto):
    bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "classifier.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([5, -5, 0], np.float32), bias.name))


@pytest.mark.parametrize("spoil, why", [
    (renamed, "onnxsim changed inputs or outputs"), (input_renamed, "onnxsim changed inputs or outputs"),
    (reordered, "onnxsim changed inputs or outputs"), (retyped, "onnxsim changed inputs or outputs"),
    (other_shape, r"input input_ids of .* is \[2, 8\] after onnxsim, \[4, 8\] was asked for"),
    (open_output, "output output of .* after onnxsim, though every input is fixed"),
    (second_domain, "has the opset domain ai.onnx.ml"),
    (other_answers, "onnxsim changed the answers"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_a_result_that_breaks_a_promise(berts, tmp_path, monkeypatch, spoil, why):
    real = onnxsim.simplify

    def spoiled(proto, **options):
        made, valid = real(proto, **options)
        spoil(made)
        return made, valid

    monkeypatch.setattr(onnxsim, "simplify", spoiled)
    refuse(JobFailed, why, berts(), tmp_path, SHAPES)


def test_onnxsim_fails_aloud(berts, tmp_path, monkeypatch):
    def crashes(proto, **options):
        raise RuntimeError("bad\nluck")

    monkeypatch.setattr(onnxsim, "simplify", crashes)
    refuse(JobFailed, "onnxsim failed on .*: bad luck", berts(), tmp_path, SHAPES)
    monkeypatch.setattr(onnxsim, "simplify", lambda proto, **options: (proto, False))
    refuse(JobFailed, "that it does not trust itself", berts(), tmp_path, SHAPES)


def refuse(kind, why, path, tmp_path, shapes):
    before = path.read_bytes()
    with pytest.raises(kind, match=why):
        simplify(path, tmp_path / "s.onnx", shapes, FEEDS)
    assert path.read_bytes() == before and not list(tmp_path.iterdir())
