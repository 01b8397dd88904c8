"""The chip's arithmetic: what half precision does to numbers, operator by operator."""
import numpy as np
import pytest
from graphs import FLOAT, INT64, save

TOOL = "aclruntime"
pytestmark = pytest.mark.device
LOWEST = np.finfo(np.float32).min  # what exporters write where a token is masked


def half(values) -> np.ndarray:
    """Round to half precision, beyond it to infinity."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float16).astype(np.float32)


def answer(case, nodes, x, weights=None, options="", opset=11) -> np.ndarray:
    """Compile a model of one float32 input x, run it, return y."""
    x = np.asarray(x, np.float32)
    save(case.folder / "m.onnx", nodes, {"x": (FLOAT, list(x.shape))}, {"y": (FLOAT, None)}, weights, opset)
    case.atc(options)
    return case.infer(x=x)[0]


def listed(values) -> list:
    """Return numbers as JSON can hold them."""
    return [str(value) if not np.isfinite(value) else float(value) for value in np.ravel(values)]


def test_beyond_65504_is_infinity(case):
    y = answer(case, [("Mul", "x one", "y")], [[70000, -70000, 65504, 1]], {"one": np.float32(1)})
    case.sees("fp16.overflow", listed(y), ["inf", "-inf", 65504.0, 1.0])


def test_small_numbers(case):
    y = answer(case, [("Mul", "x one", "y")], [[1e-8, 6e-8, 1e-7, 1.0001]], {"one": np.float32(1)})
    case.sees("fp16.subnormals", listed(y), listed(half([1e-8, 6e-8, 1e-7, 1.0001])))


def test_overflow_inside_the_graph_is_seen(case):
    """300 * 300 leaves half precision although 300 * 300 / 300 is back in it."""
    y = answer(case, [("Mul", "x x", "square"), ("Div", "square x", "y")], np.full((1, 4), 300))
    case.sees("fp16.overflow_inside", listed(y), ["inf"] * 4)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
def test_rounded_to_nearest_even(case, operator):
    """65 numbers whose results lie between two halves, and exactly in the middle."""
    x = np.linspace(1, 3, 65, dtype=np.float32)[None]
    weight = np.float32({"Add": 0.0004, "Sub": 1 / 4096, "Mul": 1.2001953125, "Div": 3}[operator])
    w = half(weight)
    exact = {"Add": x + w, "Sub": x - w, "Mul": x * w, "Div": x / w}[operator]
    y = answer(case, [(operator, "x w", "y")], x, {"w": weight})
    wrong = int((y != half(exact)).sum())
    case.sees(f"fp16.rounds_{operator.lower()}", f"{wrong} of 65 results are not rounded to the nearest half" if wrong
              else "nearest",
              "nearest")


@pytest.mark.parametrize("options, expected",
                         [("--is_weight_clip=0", ["-inf", "nan"]), ("--is_weight_clip=1", [-65504.0, 0.0]),
                                               ("", ["-inf", "nan"])], ids=["infinite", "clipped", "default"])
def test_the_mask_constant(case, options, expected):
    """The classic failure: -3.4e38 becomes -inf, and 0 * -inf is no number."""
    fact = "fp16.mask_constant" if options else "fp16.mask_constant_by_default"
    if options:
        case.do("atc.is_weight_clip",
                "atc --help | grep -q is_weight_clip || { echo unknown command line flag is_weight_clip; exit 1; }")
    y = answer(case, [("Mul", "x lowest", "y")], [[1, 0]], {"lowest": LOWEST}, options)
    case.sees(fact, [abs(v) if v == 0 else v for v in listed(y)], expected)


def test_softmax_of_large_logits(case):
    """60000 and 59999 are one number in half precision."""
    y = answer(case, [("Softmax", "x", "y", "", {"axis": -1})], [[60000, 59999, 0, 0]], opset=13)
    case.sees("fp16.softmax", listed(y), [0.5, 0.5, 0.0, 0.0])


def test_integers_are_untouched(case):
    """Ids beyond 65504 are exact."""
    save(case.folder / "m.onnx", [("Add", "ids one", "next"), ("Gather", "table next", "y")],
         {"ids": (INT64, [2])}, {"y": (INT64, None)}, {"one": np.int64(1), "table": np.arange(70002, dtype=np.int64)})
    case.atc()
    case.sees("fp16.integers", case.infer(ids=np.array([70000, 4097]))[0].tolist(), [70001, 4098])


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_small_network_is_float16_after_every_operator(case):
    weights = {name: generator().standard_normal(shape).astype(np.float32)
               for name, shape in (("w", (4, 64)), ("b", (64,)), ("v", (64, 8)))}
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    w, b, v = (half(weights[name]) for name in "wbv")
    expected = half(np.maximum(half(half(half(x) @ w) + b), 0) @ v)
    y = answer(case, [("MatMul", "x w", "xw", "first"), ("Add", "xw b", "sum"), ("Relu", "sum", "h"),
                      ("MatMul", "h v", "y", "second")],
               x, weights)
    case.sees("fp16.network", bool(np.allclose(y, expected, rtol=2**-9, atol=2**-9)), True)


@pytest.mark.parametrize("options", ["--precision_mode=force_fp32", "--precision_mode=must_keep_origin_dtype",
                                     "--precision_mode_v2=origin",
                                     "--precision_mode=allow_mix_precision", "--precision_mode_v2=mixed_float16",
                                     "--precision_mode=allow_fp32_to_fp16", "--precision_mode=cube_fp16in_fp32out"],
                         ids=lambda options: options.partition("=")[2])
def test_precision_modes(case, options):
    """Whether 70000 survives a multiplication: it does in float32, and where only the cube's operators are float16."""
    y = answer(case, [("Mul", "x one", "y")], [[70000, 1]], {"one": np.float32(1)}, options)
    case.sees("fp16.precision_modes", listed(y), [70000.0, 1.0])


def test_lstm_has_narrow_results(case):
    chance = generator()
    weights = {"w": chance.standard_normal((1, 12, 4)).astype(np.float32),
               "r": chance.standard_normal((1, 12, 3)).astype(np.float32)}
    y = answer(case, [("LSTM", "x w r", "y", "", {"hidden_size": 3})], chance.standard_normal((5, 2, 4)), weights)
    case.sees("fp16.lstm", bool((y == half(y)).all()), True)


def test_gears_give_what_fixed_shapes_give(case):
    weights, x = {"w": generator().standard_normal((4, 8)).astype(np.float32)}, generator().standard_normal((2,
                                                                                                             4)).astype(np.float32)
    fixed = answer(case, [("MatMul", "x w", "y")], x, weights)
    save(case.folder / "m.onnx", [("MatMul", "x w", "y")], {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 8])}, weights)
    case.atc('--input_shape="x:-1,4" --dynamic_batch_size=1,2')
    case.sees("gears.same_answers", bool((case.infer("--dymBatch 2", x=x)[0] == fixed).all()), True)
