"""atc where it fails: every error code, where it is printed, what is left behind."""
import re

import numpy as np
import onnx
import pytest
from graphs import BATCHES, DYNAMIC, FAILED, FIRST, FLOAT, IDS, save, tagger

TOOL = "atc"
ATC = "atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC"
BLOCK = re.compile(r"^(?P<code>E[A-Z\d]\d{4}): (?P<stamp>\[PID: \d+\] \S+ )?(?P<text>.*)$", re.M)


def block(done):
    """Return the error block's first line as a match, wherever it is printed; None where there is none."""
    return BLOCK.search(done.stdout + done.stderr)


def sees_refusal(case, done, code: str, words: str = "") -> None:
    """Compare the code and, of its text, some words."""
    found = block(done)
    case.sees("atc.error_codes", found["code"] if found else "none", code)
    if words and found and found["code"] == code:
        case.sees("atc.error_texts", f"{found['text']}{(done.stdout + done.stderr)[found.end():]}",
                  re.compile(re.escape(words)))


def test_layout_of_a_failure(case):
    """First line, failure line, block: code, process, time to the microsecond, text; then an indented solution; on stdout."""
    done = case.run("atc --log=loud")
    case.sees("atc.exit_status_of_failure", done.returncode, 255)
    case.sees("atc.first_line_of_failure", FIRST in done.stdout.replace("...", "."), True)
    case.sees("atc.failure_line", FAILED in done.stdout.splitlines(), True)
    found = BLOCK.search(done.stdout)
    case.sees("atc.block_on_stdout", bool(found), True)
    case.sees("atc.block_stamp", found["stamp"] or "none",
              re.compile(r"^\[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} $"))
    case.sees("atc.block_solution", done.stdout[found.end():], re.compile(r"\n        (Possible Cause|Solution): "))


@pytest.mark.parametrize("flags, message", [
    ("--nonsense=1", "ERROR: unknown command line flag 'nonsense'"),
    ("--dynamic=1", "ERROR: unknown command line flag 'dynamic'"),
    ("--model", "ERROR: flag '--model' is missing its argument; flag description: "),
    ("m.onnx", "ERROR: Non-option parameter: m.onnx")], ids=["unknown", "ambiguous", "bare", "no_flag"])
def test_unreadable_command_lines_are_answered_on_stderr(case, flags, message):
    done = case.run(f"atc {flags}")
    case.sees("atc.usage_errors", done.stderr, re.compile(f"^{re.escape(message)}", re.M))
    case.sees("atc.usage_errors", FAILED in done.stdout, True)


COMMAND_ERRORS = [  # options after a good command line (the last one wins), code, words of the text
    ("--framework=7", "E10007", "--framework is required. The value must be 0(Caffe) or"),
    ("--mode=2", "E10001", "The valid range is"),
    ("--soc_version=", "E10054", "The required parameter --soc_version for ATC is empty"),
    ("--output=", "E10054", "--output"),
    ("--model=", "E10054", "--model"),
    ("--model=none.onnx", "E10001", "No such file or directory"),
    ("--output=out/", "E10022", "Path out/ for parameter --output does not include the file name."),
    ("--output='a b'", "E10001", "The path can only contain"),
    (f"--output={'a' * 4096}", "E10021", "too long"),
    ("--soc_version=310P3", "E10001", "soc_version"),
    ("--input_format=NHWC", "E10001", "The value must be NCHW, ND or NCDHW in ONNX model."),
    ("--log=loud", "E10010", "Value loud for parameter --log is invalid."),
    ("--optypelist_for_implmode=Gelu", "E10001", "must be set at the same time."),
    ("--op_select_implmode=fast", "E10001", "The valid range is"),
    ("--precision_mode=fp8", "E10001", "The valid range is"),
    ("--precision_mode=force_fp16 --precision_mode_v2=fp16", "E10056", "simultaneously"),
    ("--precision_mode=allow_mix_precision_bf16", "E10055", "not supported"),
    ("--modify_mixlist=list.json", "E10001", "Modify_mixlist is set."),
    ("--precision_mode=allow_mix_precision --modify_mixlist=broken.json", "E10032", "Parse json file broken.json"),
    ("--keep_dtype=none.txt", "E10001", "File defined by keep_dtype is not found."),
    ("--keep_dtype=keep.txt", "E10003", "nobody"),
    ("--op_precision_mode=none.ini", "E10001", "Path defined by op precision mode is not found."),
    ("--sparsity=2", "E10006", "The value must be either 1 or 0."),
    ("--quant_dumpable=2", "E10006", "either 1 or 0"),
    ("--allow_hf32=yes", "E10005", "either true or false"),
    ("--enable_compress_weight=true --compress_weight_conf=list.json", "E10047", "mutually exclusive"),
    (f'--insert_op_conf=list.json {DYNAMIC} --dynamic_dims="1,1;2,2"', "E10001", "does not support AIPP."),
    ("--output_type=FP64", "E10001", "Only support FP32, FP16, UINT8, INT8."),
    ("--output_type=last:0:FP64", "E10001", "Only support FP32"),
    ("--output_type=nobody:0:FP16", "E10016", "nobody"),
    ("--auto_tune_mode=RA", "E10001", "deprecated"),
    # shapes
    ("--input_shape=ids,1", "E10002", "The shape must contain two parts: name and value"),
    ("--input_shape=ids:1.5,50", "E10002", "The float number is unsupported"),
    ("--input_shape=ids:1x,50", "E10002", "It is not a digit"),
    ("--input_shape=ids:one,50", "E10014", "Value one for parameter --input_shape is invalid."),
    ("--input_shape=ids:99999999999999999999,50", "E10013", "out of range"),
    ("--input_shape=ids:0,50", "E10011", "The error value in the shape is 0."),
    ("--input_shape='ids:-1,-2' --dynamic_batch_size=1,2", "E10011", "The error value in the shape is -2."),
    ("--input_shape='ids:0~0,-1'", "E10048", "The format of the shape range is invalid"),
    ("--input_shape=nobody:1,50", "E10016", "Opname nobody specified in --input_shape is not found in the model."),
    ("--input_shape=last:1,50", "E10017", "Input Op last specified in --input_shape is invalid."),
    ("--input_shape=ids:1", "E10049", "Dimension count 1 configured in --input_shape does not match"),
    ("--input_shape=", "E10001", "The shapes of inputs contain -1 in the model"),
    ("--input_shape=ids:1,50", "E10001", "Value mask for parameter --input_shape"),
    (f'{DYNAMIC} --dynamic_dims="1,1;2,2" --dynamic_batch_size=1,2', "E10009", "mutually exclusive"),
    ('--input_shape="ids:1~2,50;mask:1,50" --dynamic_batch_size=1,2', "E10040", "cannot have '~'"),
    ("--input_shape= --dynamic_batch_size=1,2", "E10004", "Value for --input_shape is empty."),
    ("--input_shape='ids:' --dynamic_batch_size=1,2", "E10012", "less than 1"),
    (f"{DYNAMIC} --dynamic_batch_size=1,2", "E10018", "only batch size N can be -1"),
    (f"{IDS} --dynamic_batch_size=1,2", "E10031", "none of the nodes specified"),
    (f"{BATCHES} --dynamic_batch_size=1,x", "E10003", "It can only contain digits"),
    (f"{BATCHES} --dynamic_batch_size=4", "E10035", "has 1 profiles, which is less than the minimum 2."),
    (f"{BATCHES} --dynamic_batch_size=0,4", "E10038", "Dimension size 0 is invalid."),
    (f"{BATCHES} --dynamic_batch_size=4,4", "E10039", "duplicate profiles"),
    (f"{IDS} --dynamic_dims='1;2'", "E10001", "At least one dim should be -1 when dynamic_dims is set."),
    (f"{DYNAMIC} --dynamic_dims=';'", "E10058", "--dynamic_dims is not configured or is empty."),
    (f"{DYNAMIC} --dynamic_dims='16;32'", "E10003", "needs to be consistent with the number of -1"),
    (f"{DYNAMIC} --dynamic_dims='16,a;32,32'", "E10001", "Dynamic dims must be a positive integer."),
    (f"{DYNAMIC} --dynamic_dims='16,16'", "E10035", "less than the minimum"),
    ("--input_shape_range=ids", "E10048", "name and value"),
    ("--input_shape_range=ids:1~2,3", "E10048", "a pair of '[]'"),
    ("--input_shape_range=ids:[2~1,3]", "E10048", "The format of the shape range is invalid"),
    # nodes
    (f"{IDS} --out_nodes=nobody:0", "E11017", "Failed to find node nobody"),
    (f"{IDS} --out_nodes=nobody", "E10016", "specified in --out_nodes"),
    (f"{IDS} --out_nodes='last:0;scores'", "E10001", "--out_nodes"),
    (f"{IDS} --input_fp16_nodes=nobody", "E10016", "specified in --input_fp16_nodes"),
    (f"{IDS} --input_fp16_nodes=last", "E10017", "The Op type must be Data."),
    (f"{IDS} --input_fp16_nodes=ids", "E10001", "int64"),
]


@pytest.mark.parametrize("options, code, words", COMMAND_ERRORS,
                         ids=[f"{code}_{index}" for index, (_, code, _) in enumerate(COMMAND_ERRORS)])
def test_refused_command_line(case, options, code, words):
    tagger(case.folder / "m.onnx", shape=("n", "l"))
    (case.folder / "list.json").write_text("{}")
    (case.folder / "broken.json").write_text("[")
    (case.folder / "keep.txt").write_text("nobody\n")
    done = case.run(f"{ATC} {'' if '--input_shape' in options else IDS} {options}")
    sees_refusal(case, done, code, words)
    case.sees("atc.no_om_after_failure", [path.name for path in case.folder.glob("*.om")], [])


def test_101_gears(case):
    tagger(case.folder / "m.onnx", shape=("n", "l"))
    done = case.run(f"{ATC} {DYNAMIC} --dynamic_dims='{';'.join(f'{n},{n}' for n in range(1, 102))}'")
    case.sees("atc.refuses_101_gears", block(done)["code"] if block(done) else f"exit {done.returncode}", "E10036")


def test_no_framework(case):
    tagger(case.folder / "m.onnx")
    sees_refusal(case, case.run(ATC.replace("--framework=5 ", "")), "E10007")


def garbage(path):
    path.write_bytes(b"this is no model")


def no_graph(path):
    onnx.save_model(onnx.ModelProto(ir_version=8, producer_name="x"), path)


def cut_short(path):
    tagger(path)
    path.write_bytes(path.read_bytes()[:60])


def weights_lost(path):
    save(path, [("Mul", "x w", "y")], {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, {"w": np.ones(4, np.float32)})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    path.with_name("w.bin").unlink()


def no_input(path):
    save(path, [("Identity", "w", "y")], {}, {"y": (FLOAT, [1])}, {"w": np.ones(1, np.float32)})


def one_node(op, opset=11, domains=(), inputs="x", **attributes):
    def write(path):
        save(path, [(op, inputs, "y", "odd", attributes)], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, None)}, opset=opset,
             domains=domains)
    return write


SEQUENCE = onnx.helper.make_graph([onnx.helper.make_node("SequenceEmpty", [], ["s"])], "b", [],
                                  [onnx.helper.make_tensor_value_info("s", FLOAT, None)])
MODEL_ERRORS = {
    "garbage": (garbage, "E13005", "Failed to parse file m.onnx."),
    "cut_short": (cut_short, "E13005", "Failed to parse file"),
    "empty": (lambda path: path.write_bytes(b""), "E13015", "has a size of 0"),
    "no_graph": (no_graph, "E16004", "ONNX model has no graph."),
    "weights_lost": (weights_lost, "E10041", "Failed to load the model from m.onnx."),
    "no_input": (no_input, "E16001", "The model has no input node."),
    "two_domains": (one_node("Relu", domains=["com.microsoft"]), "E16005", "The model has 2"),
    "cannot_run": (one_node("MatMul", inputs="x x"), "E20001", "Failed to compile Op odd. (optype: MatMul)"),
}


@pytest.mark.parametrize("model", MODEL_ERRORS)
def test_refused_model(case, model):
    write, code, words = MODEL_ERRORS[model]
    write(case.folder / "m.onnx")
    sees_refusal(case, case.run(ATC), code, words)
    case.sees("atc.no_om_after_failure", [path.name for path in case.folder.glob("*.om")], [])


NO_PARSER = {
    "opset_22": (one_node("Relu", 22), "22::Relu"), "opset_10": (one_node("Relu", 10), "10::Relu"),
    "layernorm_in_11": (one_node("LayerNormalization", inputs="x x"), "11::LayerNormalization"),
    "custom": (one_node("Mystery"), "11::Mystery"),
    "in_a_branch": (one_node("If", then_branch=SEQUENCE, else_branch=SEQUENCE), "11::SequenceEmpty"),
    **{op: (one_node(op, opset), f"{opset}::{op}") for op, opset in (
        ("Loop", 11), ("Scan", 11), ("SplitToSequence", 11), ("SequenceAt", 11), ("Gelu", 20),
        ("OptionalHasElement", 15))},
}


@pytest.mark.parametrize("operator", NO_PARSER)
def test_operator_without_a_parser(case, operator):
    write, key = NO_PARSER[operator]
    write(case.folder / "m.onnx")
    done = case.run(ATC)
    fact = "atc.opset_range" if operator.startswith("opset") else "atc.no_parser"
    found = block(done)
    case.sees(fact, found["code"] if found else f"exit {done.returncode}", "E16002")
    if found:
        case.sees("atc.no_parser_key", f"{found['text']}{(done.stdout + done.stderr)[found.end():]}",
                  re.compile(rf"ai\.onnx::{key}\b"))


OM_ERRORS = [
    ("--mode=6", "E10004"), ("--mode=6 --om=none.om", "E10001"), ("--mode=6 --om=m.onnx", "E13005"),
    ("--mode=6 --om=m.onnx --framework=5", "E10057"), ("--mode=1", "E10004"), ("--mode=1 --om=m.onnx", "E10004"),
    ("--mode=1 --om=m.onnx --json=x --framework=3", "E10007"),
    ("--mode=1 --om=m.onnx --json=no/x.json --framework=5", "E13004")]


@pytest.mark.parametrize("options, code", OM_ERRORS,
                         ids=[f"{code}_{index}" for index, (_, code) in enumerate(OM_ERRORS)])
def test_refused_om(case, options, code):
    tagger(case.folder / "m.onnx")
    sees_refusal(case, case.run(f"atc {options}"), code)
