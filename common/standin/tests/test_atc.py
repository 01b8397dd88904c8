"""atc as a black box where it succeeds: what it prints, what lies in the directory afterwards."""
import json
import platform
import re
import stat

import numpy as np
import onnx
import pytest
from small_graphs import (
    ATC,
    BATCHES,
    DYNAMIC,
    FIRST,
    FLOAT,
    IDS,
    INT32,
    INT64,
    SUCCESS,
    om_of,
    run_om,
    save,
    tagger,
)

# The originals' commands as their READMEs have them, with the variables as the READMEs set them.
ORIGINALS = {
    "bilstm_crf": ("inference/bilstm_dybs.onnx", ("ids", "mask"), ("batch", 50), INT64, """
        max_seq_len=50
        chip_name=310P3  # 根据 step1 的结果设值
        bs=1  # 设置OM模型的batchsize
        # 执行 ATC 进行模型转换
        atc --framework=5 \\
            --model=./inference/bilstm_dybs.onnx \\
            --output=./inference/bilstm_bs${bs} \\
            --input_format=ND \\
            --input_shape="ids:${bs},${max_seq_len};mask:${bs},${max_seq_len}" \\
            --log=error \\
            --soc_version=Ascend${chip_name}""", "inference/bilstm_bs1.om"),
    "bert_base_sst2": ("bert_base_sst2_bs32_md.onnx", ("input_ids", "attention_mask"), (32, 128), INT64, """
        bs=32; chip_name=310P3
        atc --model=./bert_base_sst2_bs${bs}_md.onnx \\
            --framework=5 \\
            --output=./bert_base_sst2_bs${bs} \\
            --input_format=ND \\
            --log=error \\
            --soc_version=Ascend${chip_name} \\
            --optypelist_for_implmode="Gelu" \\
            --op_select_implmode=high_performance""", "bert_base_sst2_bs32.om"),
    "spanbert": ("spanBert_dynamicbs.onnx", ("input_ids", "token_type_ids", "attention_mask"), ("n", 512), INT64, """
        chip_name=310P3
        atc --framework=5 --model=./spanBert_dynamicbs.onnx --output=./spanBert_bs1 --input_format=ND """
                 """--input_shape="input_ids:1,512;token_type_ids:1,512;attention_mask:1,512" --log=error """
                 """--soc_version=Ascend${chip_name}""", "spanBert_bs1.om"),
    "elmo": ("elmo_sim.onnx", ("input",), (1, 8, 50), INT32, """
        atc --framework=5 --model=elmo_sim.onnx --output=elmo_sim --input_format=ND --input_shape="input:1,8,50" """
             """--log=error --soc_version=Ascend310P3""", "elmo_sim.om"),
}


@pytest.mark.parametrize("original", ORIGINALS)
def test_commands_of_the_originals(original, run, tmp_path):
    model, inputs, shape, kind, command, made = ORIGINALS[original]
    tagger(tmp_path / model, inputs, shape, kind)
    result = run(command)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{FIRST}\n...\n{SUCCESS}\n", "")
    assert [tensor.name for tensor in om_of(tmp_path / made).inputs] == list(inputs)


def test_static_om(run, tmp_path):
    tagger(tmp_path / "m.onnx")
    assert run(f"{ATC} {IDS}").returncode == 0
    om = om_of(tmp_path / "m.om")
    assert stat.S_IMODE((tmp_path / "m.om").stat().st_mode) == 0o600
    assert (tmp_path / "kernel_meta").is_dir() and json.loads((tmp_path / "fusion_result.json").read_text())
    assert [(t.name, t.dtype, t.shape) for t in om.inputs] == [("ids", "int64", (1, 50)), ("mask", "int64", (1, 50))]
    assert [(t.name, t.dtype, t.shape) for t in om.outputs] == [("last:0:scores", "float32", (1, 50))]
    assert (om.mode, om.gears, om.soc_version, om.precision) == ("static", (), "Ascend310P3", "fp16")
    assert om.command.startswith("atc --framework=5 --model=m.onnx") and "stand-in" in om.tool_version


def test_input_order_is_the_graphs(run, tmp_path):
    tagger(tmp_path / "m.onnx", ("a", "b", "c"), ("n", "l"))
    assert run(ATC + ' --input_shape="c:1,-1;a:-1,7;b:2,-1" --dynamic_dims="3,1,5;4,2,6"').returncode == 0
    om = om_of(tmp_path / "m.om")
    assert [(t.name, t.shape) for t in om.inputs] == [("a", (-1, 7)), ("b", (2, -1)), ("c", (1, -1))]
    assert om.gears == ((1, 5, 3), (2, 6, 4))


@pytest.mark.parametrize("options, mode, gears, shape", [
    (f'{BATCHES} --dynamic_batch_size="1,2,8,"', "dynamic_batch", ((1, 1), (2, 2), (8, 8)), (-1, 50)),
    (f'{DYNAMIC} --dynamic_dims="16,16;64,64;"', "dynamic_dims", ((16, 16), (64, 64)), (1, -1)),
])
def test_gears(options, mode, gears, shape, run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=("n", "l"))
    assert run(f"{ATC} {options}").returncode == 0
    om = om_of(tmp_path / "m.om")
    assert (om.mode, om.gears, om.inputs[0].shape, om.outputs[0].shape) == (mode, gears, shape, shape)


@pytest.mark.parametrize("options, shape", [
    ('--input_shape="ids:-1,50;mask:-1,50"', (-1, 50)), ('--input_shape="ids:1~4,50;mask:1~4,50"', (-1, 50)),
    ('--input_shape="1,-1;1,-1"', (1, -1)), ('--input_shape_range="ids:[1~2,3~3];mask:[1~2,3]"', (-1, 3))])
def test_true_dynamic_shape_gets_the_platforms_name(options, shape, run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=("n", "l"))
    assert run(f"{ATC} {options}").returncode == 0
    assert not (tmp_path / "m.om").exists()
    om = om_of(tmp_path / f"m_linux_{platform.machine()}.om")
    assert (om.mode, om.inputs[0].shape) == ("dynamic_shape", shape)


@pytest.mark.parametrize("flags", [
    "--framework 5 --model m.onnx --output m --soc_version cpu",
    "-framework=5 -model=m.onnx -output=m -soc-version=cpu",
    "--fram=5 --model=m.onnx --output=m --soc=cpu"])
def test_flag_grammar(flags, run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    assert run(f"atc {flags}").stdout.endswith(SUCCESS + "\n")
    assert om_of(tmp_path / "m.om").precision == "fp32"


@pytest.mark.parametrize("flag", ["--help", "-h", "--h"])
def test_help(flag, run):
    result = run(f"atc {flag}")
    assert (result.returncode, result.stdout.splitlines()[0]) == (0, FIRST)
    assert "--dynamic_dims" in result.stdout and "cpu = fp32" in result.stdout


def test_branches_are_supported(run, tmp_path):
    """If compiles, and its branches compute in the chip's arithmetic too."""
    def branch(op):
        return onnx.helper.make_graph([onnx.helper.make_node(op, ["x", "w"], ["r"])], op, [],
                                      [onnx.helper.make_tensor_value_info("r", FLOAT, [1])])
    save(tmp_path / "m.onnx", [("If", "c", "y", "", {"then_branch": branch("Add"), "else_branch": branch("Mul")})],
         {"c": (onnx.TensorProto.BOOL, []), "x": (FLOAT, [1])}, {"y": (FLOAT, [1])}, {"w": np.float32([60000])})
    assert run(ATC).returncode == 0
    x = np.float32([60000])
    assert run_om(tmp_path / "m.om", c=np.array(True), x=x)[0] == [np.inf]


@pytest.mark.parametrize("shape", ["ids-1:2,50;mask:2,50", "ids-1:2~2,50;mask:2,50"])
def test_a_range_of_one_size_is_static(shape, run, tmp_path):
    tagger(tmp_path / "m.onnx", ("ids-1", "mask"))
    assert run(f"{ATC} --input_shape='{shape}'").returncode == 0
    om = om_of(tmp_path / "m.om")
    assert (om.mode, om.inputs[0].shape) == ("static", (2, 50))


def test_nameless_nodes_are_named_by_type(run, tmp_path):
    save(tmp_path / "m.onnx", [("Relu", "x", "a"), ("Split", "a", "b c", "", {"axis": 0})], {"x": (FLOAT, [2, 1])},
         {"b": (FLOAT, None), "c": (FLOAT, None), "x": (FLOAT, [2, 1])})
    assert run(ATC).returncode == 0
    assert [t.name for t in om_of(tmp_path / "m.om").outputs] == ["Split_1:0:b", "Split_1:1:c", "x:0:x"]


@pytest.mark.parametrize("asked, outputs", [
    ("first:0", [("first:0:a", (2, 3))]), ("a;y", [("first:0:a", (2, 3)), ("second:0:y", (3, 2))])])
def test_out_nodes(asked, outputs, run, tmp_path):
    save(tmp_path / "m.onnx", [("Relu", "x", "a", "first"), ("Transpose", "a", "y", "second")],
         {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [3, 2])})
    assert run(f"{ATC} --out_nodes='{asked}'").returncode == 0
    assert [(t.name, t.shape) for t in om_of(tmp_path / "m.om").outputs] == outputs


@pytest.mark.parametrize("options, dtypes", [
    ("", ["float32", "int64"]), ("--output_type=FP16", ["float16", "float16"]),
    ("--output_type=FP32", ["float32", "float32"]), ("--output_type=best:0:FP16", ["float32", "float16"])])
def test_output_type(options, dtypes, run, tmp_path):
    save(tmp_path / "m.onnx", [("Relu", "x", "a", "first"), ("ArgMax", "x", "b", "best")], {"x": (FLOAT, [2, 3])},
         {"a": (FLOAT, None), "b": (INT64, None)})
    assert run(f"{ATC} {options}").returncode == 0
    assert [t.dtype for t in om_of(tmp_path / "m.om").outputs] == dtypes
    values = run_om(tmp_path / "m.om", x=np.float32([[1, 2, 3], [4, 9, 5]]))
    assert [value.dtype.name for value in values] == dtypes and values[1].ravel().tolist() == [1, 1, 1]


def test_input_fp16_nodes(run, tmp_path):
    save(tmp_path / "m.onnx", [("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    assert run(f"{ATC} --input_fp16_nodes=x").returncode == 0
    assert om_of(tmp_path / "m.om").inputs[0].dtype == "float16"
    assert run_om(tmp_path / "m.om", x=np.float16([-1, 2]))[0].tolist() == [0, 2]


def test_weights_among_the_inputs_are_no_inputs(run, tmp_path):
    save(tmp_path / "m.onnx", [("Mul", "x w", "y")], {"w": (FLOAT, [2]), "x": (FLOAT, [2])}, {"y": (FLOAT, [2])},
         {"w": np.float32([2, 3])})
    assert run(ATC).returncode == 0
    assert [t.name for t in om_of(tmp_path / "m.om").inputs] == ["x"]


def test_output_shapes_that_depend_on_values_are_found(run, tmp_path):
    save(tmp_path / "m.onnx", [("Shape", "x", "s"), ("Gather", "s i", "n"), ("Range", "zero n one", "y")],
         {"x": (FLOAT, ["n", "l"])}, {"y": (INT64, None)}, {"i": np.int64(1), "zero": np.int64(0), "one": np.int64(1)})
    assert run(f"{ATC} --input_shape=x:2,7").returncode == 0
    assert om_of(tmp_path / "m.om").outputs[0].shape == (7,)


def test_show_info(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    run(ATC)
    text = run("atc --mode=6 --om=m.om").stdout
    start = "============ Display Model Info start ============"
    assert text.startswith(f"{FIRST}\n{start}\nOriginal Atc command line: atc ")
    assert re.search(r"system   info: atc_version\[npukit stand-in .*\], soc_version\[Ascend310P3\], "
                     r"framework_type\[Onnx\]\.", text)
    assert text.endswith(f"============ Display Model Info end   ============\n...\n{SUCCESS}\n")
    assert "Display Model Info" in run(f"{ATC} --display_model_info=1").stdout


def test_om_to_json(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    run(ATC)
    assert run("atc --mode=1 --om=m.om --json=om.json").returncode == 0
    assert json.loads((tmp_path / "om.json").read_text())["soc_version"] == "Ascend310P3"
    assert run("atc --mode=1 --om=m.onnx --json=onnx.json --framework=5").returncode == 0
    assert json.loads((tmp_path / "onnx.json").read_text())["graph"]["op"][-1]["name"] == "last"


def test_output_directories_are_made(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    assert run(f"{ATC} --output=deep/down/m").returncode == 0
    assert (tmp_path / "deep/down/m.om").exists()
