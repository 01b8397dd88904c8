"""The chip's arithmetic: what half precision does to numbers, operator by operator, in oms that atc made."""
import json

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import ATC, FLOAT, INT64, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from omfiles import om_of, run_om

LOWEST = np.finfo(np.float32).min  # what exporters write where a token is masked
X = {"x": (FLOAT, ["n", 4])}
Y = {"y": (FLOAT, None)}
SHAPE = "--input_shape=x:2,4"


def half(values):
    """Round to half precision, beyond it to infinity."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float16).astype(np.float32)


def values(*rows):
    return np.array(rows, np.float32)


@pytest.fixture
def compiled(run, tmp_path):
    """Return a function that writes a model of one float32 input x [n, 4], compiles it, and returns the om's path."""
    def compile_model(nodes, weights=None, options="", inputs=X, outputs=Y, opset=11):
        save(tmp_path / "m.onnx", nodes, inputs, outputs, weights, opset)
        shape = SHAPE if inputs is X else ""
        result = run(f"{ATC} {shape} {options}")
        assert result.returncode == 0, result.stdout
        return tmp_path / "m.om"
    return compile_model


def test_beyond_65504_is_infinity(compiled):
    path = compiled([("Add", "x zero", "y")], {"zero": np.float32(0)})
    x = values([70000, -70000, 65504, 65519], [1e-8, 6e-8, 1.0001, -0.0])
    result = run_om(path, x=x)[0]
    np.testing.assert_array_equal(result, half(x))
    assert np.isinf(result[0, :2]).all() and result.dtype == np.float32


def test_overflow_inside_the_graph_is_seen(compiled):
    """300 * 300 leaves half precision although 300 * 300 / 300 is back in it."""
    path = compiled([("Mul", "x x", "square"), ("Div", "square x", "y")])
    assert np.isinf(run_om(path, x=np.full((2, 4), 300, np.float32))[0]).all()


@pytest.mark.parametrize("constant", ["weight", "node"])
@pytest.mark.parametrize("clip, lowest", [("", -np.inf), ("--is_weight_clip=1", -65504.0)])
def test_the_mask_constant(constant, clip, lowest, compiled):
    """The classic failure: -3.4e38 becomes -inf, and 0 * -inf is no number."""
    nodes = [("Mul", "x lowest", "y")]
    weights = {"lowest": LOWEST}
    if constant == "node":
        tensor = onnx.numpy_helper.from_array(weights.pop("lowest"))
        nodes.insert(0, ("Constant", "", "lowest", "", {"value": tensor}))
    result = run_om(compiled(nodes, weights, clip), x=values([1, 0, 1, 0], [1, 1, 1, 1]))[0]
    assert result[0, 0] == lowest
    assert np.isnan(result[0, 1]) == (not clip)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=hnp.arrays(np.float32, (2, 4), elements=st.floats(-1e5, 1e5, width=32)))
def test_a_sum_is_rounded_to_nearest_even(x, summing):
    np.testing.assert_array_equal(run_om(summing, x=x)[0], half(half(x) + half(x)))


@pytest.fixture
def summing(compiled):
    return compiled([("Add", "x x", "y")])


def mlp_weights():
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(shape).astype(np.float32)
            for name, shape in (("w", (4, 64)), ("b", (64,)), ("v", (64, 8)))}


MLP = [("MatMul", "x w", "xw", "first"), ("Add", "xw b", "sum"), ("Relu", "sum", "h"), ("MatMul", "h v", "y", "second")]


def test_a_small_network_equals_numpy_in_float16(compiled):
    weights = mlp_weights()
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    w, b, v = (half(weights[name]) for name in "wbv")
    hidden = np.maximum(half(half(half(x) @ w) + b), 0)
    expected = half(hidden @ v)
    result = run_om(compiled(MLP, weights), x=x)[0]
    np.testing.assert_allclose(result, expected, rtol=2**-10)  # one unit: the order of the sums is the engine's
    np.testing.assert_array_equal(result, half(result))


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_no_optimisation_level_removes_the_rounding(level, compiled):
    weights = {"w": np.float32(1 / 3), "one": np.float32(1), "zero": np.float32(0)}
    path = compiled([("Mul", "x w", "a"), ("Mul", "a one", "b"), ("Add", "b zero", "c"), ("Identity", "c", "d"),
                     ("Cast", "d", "e", "", {"to": FLOAT}), ("Sub", "e zero", "y")], weights)
    x = values([1, 2, 70000, 0.1], [3, 5, 7, 9])
    result = run_om(path, getattr(onnxruntime.GraphOptimizationLevel, level), x=x)[0]
    np.testing.assert_array_equal(result, half(half(x) * half(np.float32(1 / 3))))


def test_softmax_of_large_logits(compiled):
    """60000 and 59999 are one number in half precision."""
    path = compiled([("Softmax", "x", "y", "", {"axis": -1})], opset=13)
    result = run_om(path, x=values([60000, 59999, 0, 0], [70000, 0, 0, 0]))[0]
    assert result[0].tolist() == [0.5, 0.5, 0, 0]
    assert np.isnan(result[1, 0])


def test_integers_are_untouched(compiled):
    """Ids beyond 65504 are exact, a float made of them is not."""
    path = compiled([("Add", "ids one", "next"), ("Gather", "table next", "y"),
                     ("Cast", "next", "z", "", {"to": FLOAT})],
                    {"one": np.int64(1), "table": np.arange(70002, dtype=np.int64)},
                    inputs={"ids": (INT64, [2])}, outputs={"y": (INT64, None), "z": (FLOAT, None)})
    y, z = run_om(path, ids=np.array([70000, 4097]))
    assert y.tolist() == [70001, 4098] and y.dtype == np.int64
    assert z.tolist() == [np.inf, 4096]  # 4098 lies between two halves, to the even one


@pytest.mark.parametrize("options, precision, exact", [
    ("", "fp16", False), ("--precision_mode=force_fp16", "fp16", False), ("--precision_mode_v2=fp16", "fp16", False),
    ("--soc_version=cpu", "fp32", True), ("--precision_mode=force_fp32", "fp32", True),
    ("--precision_mode=must_keep_origin_dtype", "fp32", True), ("--precision_mode_v2=origin", "fp32", True),
    ("--precision_mode=allow_mix_precision", "mixed", True), ("--precision_mode_v2=mixed_float16", "mixed", True),
    ("--precision_mode=allow_fp32_to_fp16", "mixed", True), ("--precision_mode=cube_fp16in_fp32out", "mixed", True)])
def test_precision_modes(options, precision, exact, compiled):
    """Whether 70000 + 0 survives: it does in float32, and where only the cube's operators are float16."""
    path = compiled([("Add", "x zero", "y")], {"zero": np.float32(0)}, options)
    assert om_of(path).precision == precision
    assert np.isfinite(run_om(path, x=values([70000] * 4, [0] * 4))[0]).all() == exact


def test_mixed_precision_rounds_around_matmul_only(compiled):
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    weights = mlp_weights()
    narrow = half(half(x) @ half(weights["w"])) + weights["b"]
    hidden = np.maximum(narrow, 0)
    mixed = run_om(compiled(MLP, weights, "--precision_mode=allow_mix_precision"), x=x)[0]
    np.testing.assert_allclose(mixed, half(half(hidden) @ half(weights["v"])), rtol=2**-10)
    wide = run_om(compiled(MLP, weights, "--precision_mode=cube_fp16in_fp32out"), x=x)[0]
    assert (wide != half(wide)).any()


def test_modify_mixlist(compiled, tmp_path):
    lists = {"white-list": {"to-add": ["Add"]}, "black-list": {"to-add": ["MatMul"]}}
    (tmp_path / "mix.json").write_text(json.dumps(lists))
    weights = {"w": np.eye(4, dtype=np.float32), "zero": np.float32(0)}
    path = compiled([("MatMul", "x w", "a"), ("Add", "a zero", "y")], weights,
                    "--precision_mode=allow_mix_precision --modify_mixlist=mix.json", outputs={**Y, "a": (FLOAT, None)})
    y, a = run_om(path, x=values([70000] * 4, [1] * 4))
    assert np.isfinite(a).all() and np.isinf(y[0]).all()


@pytest.mark.parametrize("line", ["second", "OpType::Mul"])
def test_keep_dtype(line, compiled, tmp_path):
    """The kept operator takes what its predecessors rounded, and gives float32 to the output."""
    (tmp_path / "keep.txt").write_text(line + "\n")
    path = compiled([("Add", "x zero", "a"), ("Mul", "a third", "y", "second"), ("Add", "y zero", "z")],
                    {"zero": np.float32(0), "third": np.float32(1 / 3)}, "--keep_dtype=keep.txt",
                    outputs={**Y, "z": (FLOAT, None)})
    x = values([0.1, 1, 2, 3], [5, 6, 7, 8])
    y, z = run_om(path, x=x)
    np.testing.assert_array_equal(y, half(x) * np.float32(1 / 3))
    np.testing.assert_array_equal(z, half(y))


def test_lstm_has_narrow_weights_and_results(compiled):
    """Float32 inside, float16 around: as an assumption says in fp16.py."""
    generator = np.random.default_rng(0)
    weights = {"w": generator.standard_normal((1, 12, 4)).astype(np.float32),
               "r": generator.standard_normal((1, 12, 3)).astype(np.float32)}
    lstm = [("LSTM", "x w r", "y", "", {"hidden_size": 3})]
    inputs = {"x": (FLOAT, [5, 2, 4])}
    x = generator.standard_normal((5, 2, 4)).astype(np.float32)
    narrow = run_om(compiled(lstm, weights, inputs=inputs), x=x)[0]
    np.testing.assert_array_equal(narrow, half(narrow))
    rounded = {name: half(array) for name, array in weights.items()}
    wide = run_om(compiled(lstm, rounded, "--soc_version=cpu", inputs=inputs), x=half(x))[0]
    np.testing.assert_array_equal(narrow, half(wide))


def test_gears_give_what_fixed_shapes_give(compiled, run, tmp_path):
    weights = mlp_weights()
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    fixed = run_om(compiled(MLP, weights), x=x)[0]
    assert run(f'{ATC} --output=g --input_shape="x:-1,4" --dynamic_batch_size=1,2').returncode == 0
    np.testing.assert_array_equal(run_om(tmp_path / "g.om", x=x)[0], fixed)
