"""The runtime: CPUs granted, devices, chips, shapes and gears."""
import os
import re

import numpy as np
import pytest
from omfiles import write_sum

from standin import om
from standin.cpus import granted_cpus
from standin.messages import ToolError
from standin.runtime import DeviceError, Model, open_device

AFFINITY = len(os.sched_getaffinity(0))


def cgroup(tmp_path, membership: str, files: dict[str, str]) -> int:
    """granted_cpus() under a made-up cgroup file system."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    return granted_cpus(tmp_path / "membership", tmp_path / "fs")


@pytest.mark.parametrize(("membership", "files", "cpus"), [
    ("0::/job\n", {"job/cpu.max": "100000 100000\n"}, 1),
    ("0::/job/step\n", {"job/cpu.max": "100000 100000\n", "job/step/cpu.max": "max 100000\n"}, 1),
    ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    ("0::/job\n", {"job/cpu.max": "199999 100000\n"}, 1),
    ("0::/job\n", {"job/cpu.max": "max 100000\n"}, AFFINITY),
    ("0::/not/in/this/namespace\n", {"cpu.max": "100000 100000\n"}, 1),
    ("4:cpu,cpuacct:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "100000",
                              "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 1),
    ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, AFFINITY),
    ("3:cpuset:/\n", {}, AFFINITY),
    ("0::/job\n", {"job/cpu.max": "6400000 100000\n"}, AFFINITY),
])
def test_cpus_are_those_granted(tmp_path, membership, files, cpus):
    assert cgroup(tmp_path, membership, files) == cpus


def test_cpus_without_cgroups(tmp_path):
    assert granted_cpus(tmp_path / "none", tmp_path) == AFFINITY


def test_static_model_adds_its_inputs(tmp_path):
    model = Model(write_sum(tmp_path / "x.om", {"a": (2, 3), "b": (2, 3)}))
    total, = model.infer([np.full((2, 3), 1), np.full((2, 3), 2)], loop=3)
    assert total.dtype == np.float32 and (total == 21).all() and total.shape == (2, 3)
    assert len(model.exec_times) == 3 and all(end >= start for start, end in model.exec_times)


def test_only_bytes_count(tmp_path):
    model = Model(write_sum(tmp_path / "x.om", {"a": (2, 3)}))
    assert (model.infer([np.full(6, 5).view(np.uint8)])[0] == 5).all()
    with pytest.raises(ToolError, match="takes 48 bytes, 24 were given"):
        model.infer([np.zeros((2, 3), np.int32)])


@pytest.mark.parametrize("gears", [((1,), (4,)), ((1, 1), (4, 4))])
def test_dynamic_batch(tmp_path, gears):
    shapes = {"a": (-1, 3), "b": (-1, 3)}
    model = Model(write_sum(tmp_path / "x.om", shapes, mode="dynamic_batch", gears=gears))
    with pytest.raises(ToolError, match="--dymBatch"):
        model.infer([np.ones((4, 3), np.int64)] * 2)
    with pytest.raises(ToolError, match=r"batch size 3 .*\[1, 4\]"):
        model.set_batch(3)
    model.set_batch(4)
    assert model.infer([np.ones((4, 3), np.int64)] * 2)[0].shape == (4, 3)


def test_dynamic_dims(tmp_path):
    gears = ((64, 64), (128, 128))
    model = Model(write_sum(tmp_path / "x.om", {"a": (2, -1), "m:0": (2, -1)}, mode="dynamic_dims", gears=gears))
    for wrong, why in [
        ("a:2,64;m:0:2,128", "no gear"), ("a:2,64", "must name every input"), ("a:1,64;m:0:1,64", "compiled as"),
        ("a:2;m:0:2", "compiled as"), ("a=2,64", "cannot read"),
    ]:
        with pytest.raises(ToolError, match=why):
            model.set_dims(wrong)
    for length in (128, 64):
        model.set_dims(f"m:0:2,{length};a:2,{length}")
        assert model.infer([np.ones((2, length), np.int64)] * 2)[0].shape == (2, length)


def test_dynamic_shape_needs_outsizes(tmp_path):
    model = Model(write_sum(tmp_path / "x.om", {"a": (-1, -1)}, mode="dynamic_shape"))
    with pytest.raises(ToolError, match="--dymShape"):
        model.infer([np.ones((2, 3), np.int64)])
    model.set_shape("a:2,3")
    with pytest.raises(ToolError, match="--outputSize"):
        model.infer([np.ones((2, 3), np.int64)])
    model.set_outsizes([24])
    assert model.infer([np.ones((2, 3), np.int64)])[0].shape == (2, 3)
    model.set_outsizes([23])
    with pytest.raises(ToolError, match="takes 24 bytes, --outputSize grants 23"):
        model.infer([np.ones((2, 3), np.int64)])


def test_modes_are_not_mixed(tmp_path):
    model = Model(write_sum(tmp_path / "x.om", {"a": (2, 3)}))
    with pytest.raises(ToolError, match="needs a dynamic_batch model"):
        model.set_batch(2)


@pytest.mark.parametrize(("compiled", "chip", "loads"), [
    ("Ascend310P3", None, True), ("cpu", None, True), ("Ascend910B1", None, False),
    ("Ascend310P3", "Ascend310P3", True), ("Ascend910B1", "Ascend910B1", True), ("cpu", "Ascend310P3", False),
])
def test_chip(tmp_path, monkeypatch, capsys, compiled, chip, loads):
    monkeypatch.delenv("NPUKIT_STANDIN_SOC", raising=False)
    if chip:
        monkeypatch.setenv("NPUKIT_STANDIN_SOC", chip)
    path = write_sum(tmp_path / "x.om", {"a": (1,)}, soc=compiled)
    if loads:
        Model(path)
    else:
        with pytest.raises(ToolError, match=f"compiled for {compiled}, this chip is {chip or 'Ascend310P3'}"):
            Model(path)


def test_not_an_om(tmp_path):
    whole = write_sum(tmp_path / "x.om", {"a": (1,)}).read_bytes()
    for content, why in [(b"IMOD....", "real NPU"), (b"nothing", "not an offline model"), (whole[:-5], "cut short"),
                         (whole[:60], "cut short")]:
        (tmp_path / "bad.om").write_bytes(content)
        with pytest.raises(ToolError, match=why):
            Model(tmp_path / "bad.om")


def test_graph_that_fails_at_work(tmp_path):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["y"])], "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [helper.make_tensor("table", TensorProto.FLOAT, [2], [0, 1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    om.write(tmp_path / "x.om", om.OfflineModel(
        (om.Tensor("ids", "int64", (1,)),), (om.Tensor("Gather_0:0:y", "float32", (1,)),),
        "static", (), "cpu", "fp32", "", "", proto.SerializeToString()))
    with pytest.raises(ToolError, match=r"failed at work: .*indices element out of data bounds"):
        Model(tmp_path / "x.om").infer([np.array([7])])


def test_devices(monkeypatch):
    monkeypatch.setenv("NPUKIT_STANDIN_DEVICES", "2")
    open_device(1)
    with pytest.raises(DeviceError, match=re.escape("SetDevice failed.ret=107001")):
        open_device(2)
    monkeypatch.setenv("NPUKIT_STANDIN_FAULT", "507033")
    with pytest.raises(DeviceError, match=re.escape("SetDevice failed.ret=507033")):
        open_device(1)
