"""atc where it succeeds: what it prints, what lies in the folder afterwards, what the om is like."""
import json
import platform
import re
import stat

import numpy as np
import onnx
import pytest
from graphs import BATCHES, DYNAMIC, FIRST, FLOAT, IDS, INT32, INT64, SUCCESS, save, tagger

TOOL = "atc"
device = pytest.mark.device
DESCRIBE = """
import json, aclruntime
session = aclruntime.InferenceSession("m.om", 0, aclruntime.session_options())
print(json.dumps([[[t.name, int(t.datatype), list(t.shape)] for t in side if t.name != "ascend_mbatch_shape_data"]
                  for side in (session.get_inputs(), session.get_outputs())]))
"""
F32, F16, I64 = 0, 1, 9  # ACL's codes of data types

# The originals' commands as their READMEs have them, with the variables as the READMEs set them.
ORIGINALS = {
    "bilstm_crf": ("inference/bilstm_dybs.onnx", ("ids", "mask"), ("batch", 50), INT64, """
        max_seq_len=50
        chip_name=${SOC#Ascend}  # 根据 step1 的结果设值
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
        bs=32; chip_name=${SOC#Ascend}
        atc --model=./bert_base_sst2_bs${bs}_md.onnx \\
            --framework=5 \\
            --output=./bert_base_sst2_bs${bs} \\
            --input_format=ND \\
            --log=error \\
            --soc_version=Ascend${chip_name} \\
            --optypelist_for_implmode="Gelu" \\
            --op_select_implmode=high_performance""", "bert_base_sst2_bs32.om"),
    "spanbert": ("spanBert_dynamicbs.onnx", ("input_ids", "token_type_ids", "attention_mask"), ("n", 512), INT64, """
        chip_name=${SOC#Ascend}
        atc --framework=5 --model=./spanBert_dynamicbs.onnx --output=./spanBert_bs1 --input_format=ND """
                 """--input_shape="input_ids:1,512;token_type_ids:1,512;attention_mask:1,512" --log=error """
                 """--soc_version=Ascend${chip_name}""", "spanBert_bs1.om"),
    "elmo": ("elmo_sim.onnx", ("input",), (1, 8, 50), INT32, """
        atc --framework=5 --model=elmo_sim.onnx --output=elmo_sim --input_format=ND --input_shape="input:1,8,50" """
             """--log=error --soc_version=$SOC""", "elmo_sim.om"),
}


@pytest.mark.parametrize("original", ORIGINALS)
def test_command_of_the_original(case, original):
    model, inputs, shape, kind, command, made = ORIGINALS[original]
    tagger(case.folder / model, inputs, shape, kind)
    case.do("atc.originals", command)
    case.sees("atc.om_suffix", (case.folder / made).is_file(), True)


def test_what_it_prints_and_leaves(case):
    tagger(case.folder / "m.onnx")
    done = case.do("atc.compiles", f"atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC {IDS}")
    lines = done.stdout.splitlines()
    case.sees("atc.first_line", lines[0], FIRST)
    case.sees("atc.success_line", SUCCESS in lines, True)
    case.sees("atc.dots", lines[lines.index(SUCCESS) - 1] if SUCCESS in lines else "", re.compile(r"^\.+$"))
    case.sees("atc.left_behind",
              [name for name in ("fusion_result.json", "kernel_meta") if (case.folder / name).exists()],
              ["fusion_result.json", "kernel_meta"])
    case.sees("atc.om_mode", oct(stat.S_IMODE((case.folder / "m.om").stat().st_mode)), "0o600")


@pytest.mark.parametrize("flag", ["--help", "-h", "--h"])
def test_help(case, flag):
    done = case.do("atc.help", f"atc {flag}")
    case.sees("atc.help", "--dynamic_dims" in done.stdout, True)


@pytest.mark.parametrize("flags", [
    "--framework 5 --model m.onnx --output m --soc_version $SOC",
    "-framework=5 -model=m.onnx -output=m -soc-version=$SOC",
    "--fram=5 --model=m.onnx --output=m --soc=$SOC"], ids=["blank", "dash", "prefix"])
def test_flag_grammar(case, flags):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    case.do("atc.flag_grammar", f"atc {flags}")


@pytest.mark.parametrize("options", [
    '--input_shape="ids:-1,50;mask:-1,50"', '--input_shape="ids:1~4,50;mask:1~4,50"', '--input_shape="1,-1;1,-1"',
    '--input_shape_range="ids:[1~2,3~3];mask:[1~2,3]"'], ids=["minus", "range", "nameless", "deprecated"])
def test_true_dynamic_shape_gets_the_platforms_name(case, options):
    tagger(case.folder / "m.onnx", shape=("n", "l"))
    case.do("atc.dynamic_shape", f"atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC {options}")
    case.sees("atc.dynamic_shape_name", [path.name for path in case.folder.glob("*.om")],
              [f"m_linux_{platform.machine()}.om"])


@pytest.mark.parametrize("shape", ["ids-1:2,50;mask:2,50", "ids-1:2~2,50;mask:2,50"], ids=["number", "range"])
def test_a_range_of_one_size_is_static(case, shape):
    tagger(case.folder / "m.onnx", ("ids-1", "mask"))
    case.do("atc.range_of_one",
            f"atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC --input_shape='{shape}'")
    case.sees("atc.range_of_one", [path.name for path in case.folder.glob("*.om")], ["m.om"])


def test_folders_are_made(case):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    case.do("atc.makes_folders", "atc --framework=5 --model=m.onnx --soc_version=$SOC --output=deep/down/m")


def test_model_info(case):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    case.atc()
    text = case.do("atc.model_info", "atc --mode=6 --om=m.om").stdout
    case.sees("atc.model_info",
              "============ Display Model Info start ============\nOriginal Atc command line: " in text, True)
    case.sees("atc.model_info_system", next((line for line in text.splitlines() if line.startswith("system")), "none"),
              re.compile(r"^system   info: atc_version\[.*\], soc_version\[\w+\], framework_type\[.*\]\.$"))


def test_display_model_info(case):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    text = case.do("atc.display_model_info",
                   "atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC --display_model_info=1").stdout
    case.sees("atc.display_model_info", "Display Model Info" in text, True)


def test_om_and_onnx_to_json(case):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    case.atc()
    case.do("atc.to_json", "atc --mode=1 --om=m.om --json=om.json")
    case.do("atc.to_json", "atc --mode=1 --om=m.onnx --json=onnx.json --framework=5")
    case.sees("atc.to_json",
              [isinstance(json.loads((case.folder / f"{name}.json").read_text()), dict) for name in ("om", "onnx")],
              [True, True])


def test_a_failed_run_leaves_the_old_om_alone(case):
    tagger(case.folder / "m.onnx", shape=(1, 50))
    before = case.atc().read_bytes()
    case.run("atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC --input_shape=ids:1")
    case.sees("atc.keeps_old_om", (case.folder / "m.om").exists() and (case.folder / "m.om").read_bytes() == before,
              True)


def test_clipped_weights(case):
    save(case.folder / "m.onnx", [("Mul", "x w", "y", "last")], {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])},
         {"w": np.float32(1e9)})
    case.do("atc.is_weight_clip", "atc --framework=5 --model=m.onnx --output=m --soc_version=$SOC --is_weight_clip=1")


# --- What the om is like, as the runtime describes it ------------------------------------------------------------------


def described(case, options: str = "") -> tuple[list, list]:
    """Compile m.onnx and return [name, data type, shape] of its inputs and outputs."""
    case.atc(options)
    return case.python("acl.describes", DESCRIBE)


@device
def test_static_om(case):
    tagger(case.folder / "m.onnx")
    inputs, outputs = described(case, IDS)
    case.sees("atc.input_names", [(name, shape) for name, _, shape in inputs], [("ids", [1, 50]), ("mask", [1, 50])])
    case.sees("atc.int64_stays", [kind for _, kind, _ in inputs], [I64, I64])
    case.sees("atc.output_names", outputs[0][0], "last:0:scores")
    case.sees("atc.float32_outputs", outputs[0][1:], [F32, [1, 50]])


@device
def test_input_order_is_the_graphs(case):
    tagger(case.folder / "m.onnx", ("a", "b", "c"), ("n", "l"))
    inputs, _ = described(case, '--input_shape="c:1,-1;a:-1,7;b:2,-1" --dynamic_dims="3,1,5;4,2,6"')
    case.sees("atc.input_order", [(name, shape) for name, _, shape in inputs],
              [("a", [-1, 7]), ("b", [2, -1]), ("c", [1, -1])])


@device
@pytest.mark.parametrize("options, shape", [(f'{BATCHES} --dynamic_batch_size="1,2,8,"', [-1, 50]),
                                            (f'{DYNAMIC} --dynamic_dims="16,16;64,64;"', [1, -1])],
                         ids=["batch", "dims"])
def test_gears(case, options, shape):
    tagger(case.folder / "m.onnx", shape=("n", "l"))
    inputs, _ = described(case, options)
    case.sees("atc.gears_are_open", [each for *_, each in inputs], [shape, shape])


def test_100_gears(case):
    tagger(case.folder / "m.onnx", shape=("n", "l"))
    case.atc(f"{DYNAMIC} --dynamic_dims='{';'.join(f'{n},{n}' for n in range(1, 101))}'", "atc.takes_100_gears")


@device
def test_nameless_nodes_are_named_by_type(case):
    save(case.folder / "m.onnx", [("Relu", "x", "a"), ("Split", "a", "b c", "", {"axis": 0})], {"x": (FLOAT, [2, 1])},
         {"b": (FLOAT, None), "c": (FLOAT, None)})
    case.sees("atc.nameless_nodes", [name for name, *_ in described(case)[1]], ["Split_1:0:b", "Split_1:1:c"])


@device
@pytest.mark.parametrize("asked, outputs", [("first:0", [("first:0:a", [2, 3])]),
                                            ("a;y", [("first:0:a", [2, 3]), ("second:0:y", [3, 2])])],
                         ids=["nodes", "names"])
def test_out_nodes(case, asked, outputs):
    save(case.folder / "m.onnx", [("Relu", "x", "a", "first"), ("Transpose", "a", "y", "second")],
         {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [3, 2])})
    case.sees("atc.out_nodes", [(name, shape) for name, _, shape in described(case, f"--out_nodes='{asked}'")[1]],
              outputs)


@device
@pytest.mark.parametrize("options, kinds",
                         [("", [F32, I64]), ("--output_type=FP16", [F16, F16]), ("--output_type=FP32", [F32, F32]),
                                            ("--output_type=best:0:FP16", [F32, F16])],
                         ids=["none", "FP16", "FP32", "one"])
def test_output_type(case, options, kinds):
    save(case.folder / "m.onnx", [("Relu", "x", "a", "first"), ("ArgMax", "x", "b", "best")], {"x": (FLOAT, [2, 3])},
         {"a": (FLOAT, None), "b": (INT64, None)})
    case.sees("atc.output_type", [kind for _, kind, _ in described(case, options)[1]], kinds)
    answers = case.infer(x=np.float32([[1, 2, 3], [4, 9, 5]]))
    case.sees("atc.output_type", answers[1].ravel().tolist(), [1, 1, 1])


@device
def test_input_fp16_nodes(case):
    save(case.folder / "m.onnx", [("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])})
    case.sees("atc.input_fp16_nodes", described(case, "--input_fp16_nodes=x")[0][0][1], F16)
    case.sees("atc.input_fp16_nodes", case.infer(x=np.float16([-1, 2]))[0].tolist(), [0, 2])


@device
def test_weights_among_the_inputs_are_no_inputs(case):
    save(case.folder / "m.onnx", [("Mul", "x w", "y")], {"w": (FLOAT, [2]), "x": (FLOAT, [2])}, {"y": (FLOAT, [2])},
         {"w": np.float32([2, 3])})
    case.sees("atc.weights_are_no_inputs", [name for name, *_ in described(case)[0]], ["x"])


@device
def test_output_shapes_that_depend_on_values_are_found(case):
    save(case.folder / "m.onnx", [("Shape", "x", "s"), ("Gather", "s i", "n"), ("Range", "zero n one", "y")],
         {"x": (FLOAT, ["n", "l"])}, {"y": (INT64, None)}, {"i": np.int64(1), "zero": np.int64(0), "one": np.int64(1)})
    case.sees("atc.shapes_of_values", described(case, "--input_shape=x:2,7")[1][0][2], [7])


@device
def test_branches(case):
    def branch(op):
        return onnx.helper.make_graph([onnx.helper.make_node(op, ["x", "w"], ["r"])], op, [],
                                      [onnx.helper.make_tensor_value_info("r", FLOAT, [1])])
    save(case.folder / "m.onnx", [("If", "c", "y", "", {"then_branch": branch("Add"), "else_branch": branch("Mul")})],
         {"c": (onnx.TensorProto.BOOL, []), "x": (FLOAT, [1])}, {"y": (FLOAT, [1])}, {"w": np.float32([3])})
    case.atc(fact="atc.branches")
    case.sees("atc.branches", case.infer(c=np.array(True), x=np.float32([4]))[0].tolist(), [7])
