"""What a pass owes its caller, and what ATC needs of any graph: each rule with a case that breaks it."""
import onnx
import onnx_ir as ir
import pytest
from small_berts import content, model_of

from npukit.errors import JobFailed, UserError
from npukit.graph import apply, check, graph_pass, load, save, signature

GOOD = '<ir_version: 8, opset_import: ["": 13]> g (float[N, 2] x) => (float[N, 2] y) { %s }'


def plain():
    return model_of(GOOD % "a = Identity(x) c = Constant<value = float {2.0}>() unused = Abs(x) y = Mul(a, c)")


@graph_pass
def double(model):
    """Doubles nothing, in truth."""
    for node in model.graph:
        node.name = f"{node.name}_seen"
    return f"{len(list(model.graph))} node(s) named"


def test_a_pass_works_on_a_tidy_copy_and_says_what_it_did():
    model = plain()
    before = content(model)
    made, said = double(model)
    assert said == "double: 1 node(s) named" and double.__doc__ == "Doubles nothing, in truth."
    assert [node.op_type for node in made.graph] == ["Mul"] and list(made.graph.initializers) == ["c"]
    assert content(model) == before


def test_passes_are_applied_in_order_and_a_failing_one_changes_nothing():
    @graph_pass
    def matches_nothing(model):
        raise JobFailed("no elephant among 1 node(s)")

    model = plain()
    before = content(model)
    made, said = apply(model, [double, double])
    assert said == ["double: 1 node(s) named"] * 2 and next(iter(made.graph)).name.endswith("_seen_seen")
    with pytest.raises(JobFailed, match=r"^pass matches_nothing on g: no elephant among 1 node\(s\)$"):
        apply(model, [double, matches_nothing])
    assert content(model) == before


def test_a_mistake_of_the_user_stays_one():
    @graph_pass
    def asks(model):
        raise UserError("give it a number")

    with pytest.raises(UserError, match=r"^pass asks on g: give it a number"):
        asks(plain())


def rename_input(model):
    model.graph.inputs[0].name = "z"


def narrow_input(model):
    model.graph.inputs[0].shape = ir.Shape([2, 2])


def drop_output_dim(model):
    model.graph.outputs[0].shape = ir.Shape(["N", 2, 1])


def second_output(model):
    model.graph.outputs.append(model.graph.inputs[0])


@pytest.mark.parametrize("spoil", [rename_input, narrow_input, drop_output_dim, second_output])
def test_inputs_and_outputs_must_stay(spoil):
    @graph_pass
    def spoiling(model):
        spoil(model)
        return "done"

    with pytest.raises(JobFailed, match="pass spoiling on g: "):
        spoiling(plain())


def test_an_invalid_graph_is_refused():
    @graph_pass
    def breaking(model):
        next(iter(model.graph)).op_type = "MatMul"
        return "done"

    with pytest.raises(JobFailed, match=r"pass breaking on g: .*is no valid ONNX graph"):
        breaking(plain())


LOOP = """steps = Constant<value = int64 {2}>() go = Constant<value = bool {1}>() y = Loop(steps, go, x) <body = b
 (int64 i, bool c, float[N, 2] old) => (bool more, float[N, 2] new) { more = Identity(c) new = Add(old, old) }>"""


@pytest.mark.parametrize("text, why", [
    (GOOD.replace('"": 13', '"": 13, "ai.onnx.ml": 2') % "y = Abs(x)", "has the opset domain ai.onnx.ml beside ONNX's"),
    (GOOD.replace('"": 13', '"": 13, "com.microsoft": 1') % "y = com.microsoft.Gelu(x)", "com.microsoft"),
    (GOOD.replace('"": 13', '"": 17') % "y = Abs(x)", "is of opset 17; ATC is sure of 11 to 13"),
    (GOOD.replace('"": 13', '"": 9') % "y = Abs(x)", "is of opset 9"),
    (GOOD % LOOP, "has Loop, for which ATC has no parser"),
    (GOOD % "s = SplitToSequence(x) i = Constant<value = int64 {0}>() y = SequenceAt(s, i)",
     "has SequenceAt, SplitToSequence"),
    (GOOD % "y = Abs(z)", "is no valid ONNX graph"),
    (GOOD % "y = Transpose<perm = [0, 0]>(x)", "is no valid ONNX graph"),
])
def test_what_atc_would_not_take(text, why):
    model = model_of(text)
    before = content(model)
    with pytest.raises(JobFailed, match=r"^g ") as error:
        check(model)
    assert why in str(error.value) and content(model) == before


def test_a_good_graph_passes():
    check(plain())


def test_files(tmp_path):
    path = tmp_path / "deep" / "m.onnx"
    save(plain(), path)
    model = load(path)
    assert content(model) == content(plain()) and [p.name for p in path.parent.iterdir()] == ["m.onnx"]
    assert signature(model.graph.inputs) == {"x": ("float32", ("N", 2))}
    with pytest.raises(JobFailed, match=f"pass .* on {path}: "):
        apply(model, [graph_pass(lambda model: model.graph.outputs.pop() and "")])


@pytest.mark.parametrize("written, why",
                         [(None, "is not there"), (b"", "holds no graph"), (b"not onnx", "is not a whole ONNX")])
def test_files_that_are_no_models(tmp_path, written, why):
    path = tmp_path / "m.onnx"
    if written is not None:
        path.write_bytes(written)
    with pytest.raises(UserError, match=why):
        load(path)


def test_a_file_cut_short(tmp_path, berts):
    path = tmp_path / "m.onnx"
    path.write_bytes(berts().read_bytes()[:50000])
    with pytest.raises(UserError, match=r"m.onnx (is not a whole ONNX file|holds no graph)"):
        load(path)
    assert onnx.load(berts()).graph.node
