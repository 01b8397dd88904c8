"""atc as a black box where it fails: every error code, where it is printed, what is left behind."""
import re

import numpy as np
import onnx
import pytest
from small_graphs import ATC, BATCHES, DYNAMIC, FIRST, FLOAT, IDS, save, tagger

FAILED = "ATC run failed, Please check the detail log, Try 'atc --help' for more information"


def code_of(result):
    """Return the error code, after checking the layout of a failure: exit status, lines, order."""
    lines = result.stdout.splitlines()
    assert result.returncode == 255
    assert lines[0] == FIRST
    after = lines[lines.index(FAILED) + 1]
    return re.match(r"(E\d{5}): ", after)[1]


@pytest.mark.parametrize("flags, message", [
    ("--nonsense=1", "ERROR: unknown command line flag 'nonsense'"),
    ("--dynamic=1", "ERROR: unknown command line flag 'dynamic'"),
    ("--model", "ERROR: flag '--model' is missing its argument; flag description: "),
    ("m.onnx", "ERROR: Non-option parameter: m.onnx")])
def test_unreadable_command_lines_are_answered_on_stderr(flags, message, run):
    result = run(f"atc {flags}")
    assert result.stderr.startswith(message)
    assert code_of(result) == "E19999"


COMMAND_ERRORS = [  # options after a good command line (the last one wins), code, words of the text
    ("--framework=7", "E10007", "--framework is required. The value must be 0(Caffe) or"),
    ("--mode=2", "E10001", "The valid range is"),
    ("--mode=3", "E10055", "not 3"),
    ("--framework=3", "E10055", "ONNX"),
    ("--soc_version=", "E10054", "The required parameter --soc_version for ATC is empty"),
    ("--output=", "E10054", "--output"),
    ("--model=", "E10054", "--model"),
    ("--model=none.onnx", "E10001", "No such file or directory"),
    ("--output=out/", "E10022", "Path out/ for parameter --output does not include the file name."),
    ("--output='a b'", "E10001", "The path can only contain"),
    (f"--output={'a' * 4096}", "E10021", "too long"),
    ("--soc_version=310P3", "E10001", "Did you mean Ascend310P3?"),
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
    ("--keep_dtype=keep.txt", "E10003", "no operator named nobody"),
    ("--op_precision_mode=none.ini", "E10001", "Path defined by op precision mode is not found."),
    ("--sparsity=2", "E10006", "The value must be either 1 or 0."),
    ("--quant_dumpable=2", "E10006", "either 1 or 0"),
    ("--allow_hf32=yes", "E10005", "either true or false"),
    ("--enable_compress_weight=true --compress_weight_conf=list.json", "E10047", "mutually exclusive"),
    ("--insert_op_conf=list.json", "E10055", "--insert_op_conf"),
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
    (f"{DYNAMIC} --dynamic_dims='{';'.join(f'{n},{n}' for n in range(1, 102))}'", "E10036", "maximum 100"),
    ("--dynamic_image_size='1,1;2,2'", "E10055", "no image gears"),
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
def test_refused_command_lines(options, code, words, run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=("n", "l"))
    (tmp_path / "list.json").write_text("{}")
    (tmp_path / "broken.json").write_text("[")
    (tmp_path / "keep.txt").write_text("nobody\n")
    shape = "" if "--input_shape" in options else IDS
    result = run(f"{ATC} {shape} {options}")
    assert (code_of(result), result.stderr) == (code, "")
    assert words in result.stdout
    assert not list(tmp_path.glob("*.om"))


def test_no_framework(run, tmp_path):
    tagger(tmp_path / "m.onnx")
    assert code_of(run(ATC.replace("--framework=5 ", ""))) == "E10007"


def test_error_block(run):
    """The block: code, process, time to the microsecond, text; then an indented solution; on stdout."""
    block = run("atc --log=loud").stdout.split(FAILED + "\n")[1]
    assert re.fullmatch(r"E10010: \[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} Value loud for parameter "
                        r"--log is invalid\.\n        Solution: Select the value from .*\n\n", block)


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


def one_node(op, opset=11, domains=(), inputs="x", **attributes):
    def write(path):
        save(path, [(op, inputs, "y", "odd", attributes)], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, None)}, opset=opset,
             domains=domains)
    return write


BODY = onnx.helper.make_graph([onnx.helper.make_node("SequenceEmpty", [], ["s"])], "b", [],
                              [onnx.helper.make_tensor_value_info("s", FLOAT, None)])
MODEL_ERRORS = {
    "garbage": (garbage, "E13005", "Failed to parse file m.onnx."),
    "cut_short": (cut_short, "E13005", "Failed to parse file"),
    "empty": (lambda path: path.write_bytes(b""), "E13015", "has a size of 0"),
    "no_graph": (no_graph, "E16004", "ONNX model has no graph."),
    "weights_lost": (weights_lost, "E10041", "Failed to load the model from m.onnx."),
    "no_input": (lambda path: save(path, [("Identity", "w", "y")], {}, {"y": (FLOAT, [1])},
                                   {"w": np.ones(1, np.float32)}), "E16001", "The model has no input node."),
    "two_domains": (one_node("Relu", domains=["com.microsoft"]), "E16005", "The model has 2"),
    "opset_22": (one_node("Relu", 22), "E16002", "ai.onnx::22::Relu."),
    "opset_10": (one_node("Relu", 10), "E16002", "ai.onnx::10::Relu."),
    "layernorm_in_11": (one_node("LayerNormalization", inputs="x x"), "E16002", "ai.onnx::11::LayerNormalization."),
    "custom": (one_node("Mystery"), "E16002", "ai.onnx::11::Mystery."),
    "in_a_branch": (one_node("If", then_branch=BODY, else_branch=BODY), "E16002", "ai.onnx::11::SequenceEmpty."),
    "cannot_run": (one_node("MatMul", inputs="x x"), "E20001", "Failed to compile Op odd. (optype: MatMul)"),
    **{op: (one_node(op, opset), "E16002", f"No ONNX parser is registered for optype ai.onnx::{opset}::{op}.")
       for op, opset in (("Loop", 11), ("Scan", 11), ("SplitToSequence", 11), ("SequenceAt", 11), ("Gelu", 20),
                         ("OptionalHasElement", 15))},
}


@pytest.mark.parametrize("case", MODEL_ERRORS)
def test_refused_models(case, run, tmp_path):
    write, code, words = MODEL_ERRORS[case]
    write(tmp_path / "m.onnx")
    result = run(ATC)
    assert code_of(result) == code
    assert words in result.stdout
    assert not list(tmp_path.glob("*.om"))


def test_every_missing_operator_is_named(run, tmp_path):
    save(tmp_path / "m.onnx", [("Loop", "x", "a"), ("Scan", "a", "y")], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])})
    text = run(ATC).stdout
    assert "ai.onnx::11::Loop." in text and "TraceBack (most recent call last):" in text and "::Scan" in text


OM_ERRORS = [
    ("--mode=6", "E10004"), ("--mode=6 --om=none.om", "E10001"), ("--mode=6 --om=m.onnx", "E13005"),
    ("--mode=6 --om=real.om", "E13005"), ("--mode=6 --om=m.onnx --framework=5", "E10057"),
    ("--mode=1", "E10004"), ("--mode=1 --om=m.onnx", "E10004"),
    ("--mode=1 --om=m.onnx --json=x --framework=3", "E10007"),
    ("--mode=1 --om=m.onnx --json=no/x.json --framework=5", "E13004")]


@pytest.mark.parametrize("options, code", OM_ERRORS)
def test_refused_om(options, code, run, tmp_path):
    tagger(tmp_path / "m.onnx")
    (tmp_path / "real.om").write_bytes(b"IMOD" + bytes(100))
    assert code_of(run(f"atc {options}")) == code


def test_a_place_that_cannot_be_written(run, tmp_path):
    """A file where kernel_meta belongs stops it even as root, whom no permission stops."""
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    (tmp_path / "kernel_meta").write_text("")
    assert code_of(run(ATC)) == "E13004"
    assert not (tmp_path / "m.om").exists()


def test_a_failed_run_leaves_the_old_om_alone(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    run(ATC)
    before = (tmp_path / "m.om").read_bytes()
    run(f"{ATC} --input_shape=ids:1")
    assert (tmp_path / "m.om").read_bytes() == before


def test_a_graph_beyond_2_gib(monkeypatch):
    """No test has 2 GiB of weights, so the limit comes to the model."""
    from standin.atc import compiler, onnx_model
    from standin.atc.errors import AtcError

    monkeypatch.setattr(onnx_model, "PROTOBUF_LIMIT", 10)
    with pytest.raises(AtcError) as caught:
        compiler.serialize(onnx.ModelProto(producer_name="longer than that"), "m")
    assert caught.value.block().startswith("E13023: ") and "exceeds system limit of 10 bytes" in caught.value.block()


def test_every_error_code_has_a_failing_case():
    from standin.atc.errors import TEMPLATES

    tested = {code for _, code, *_ in (*COMMAND_ERRORS, *MODEL_ERRORS.values())} | {code for _, code in OM_ERRORS}
    assert set(TEMPLATES) - tested == {"E13023"}, "E13023 has a test of its own"
