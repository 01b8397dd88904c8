"""What atc writes into the stand-in's om; ../conformance/test_atc.py has what is known of the real one."""
import json
import platform

import numpy as np
import onnx
import pytest
from graphs import ATC, BATCHES, DYNAMIC, FLOAT, IDS, SUCCESS, save, tagger
from omfiles import om_of, run_om


def test_static_om(run, tmp_path):
    tagger(tmp_path / "m.onnx")
    assert run(f"{ATC} {IDS}").returncode == 0
    om = om_of(tmp_path / "m.om")
    assert json.loads((tmp_path / "fusion_result.json").read_text())
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


def test_the_cpu_is_a_chip_of_its_own(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    assert run("atc --framework=5 --model=m.onnx --output=m --soc_version=cpu").stdout.endswith(SUCCESS + "\n")
    assert om_of(tmp_path / "m.om").precision == "fp32" and "cpu = fp32" in run("atc --help").stdout


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


def test_om_to_json(run, tmp_path):
    tagger(tmp_path / "m.onnx", shape=(1, 50))
    run(ATC)
    assert run("atc --mode=1 --om=m.om --json=om.json").returncode == 0
    assert json.loads((tmp_path / "om.json").read_text())["soc_version"] == "Ascend310P3"
    assert run("atc --mode=1 --om=m.onnx --json=onnx.json --framework=5").returncode == 0
    assert json.loads((tmp_path / "onnx.json").read_text())["graph"]["op"][-1]["name"] == "last"
