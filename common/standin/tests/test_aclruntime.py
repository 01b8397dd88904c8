"""aclruntime and InferSession, with the spellings of both generations."""
import aclruntime
import numpy as np
import pytest
from ais_bench.infer.interface import InferSession, MemorySummary, MultiDeviceSession
from omfiles import write_sum

A, B = np.full((2, 3), 1, np.int64), np.full((2, 3), 2, np.int64)


@pytest.fixture
def path(tmp_path):
    return str(write_sum(tmp_path / "x.om", {"a": (2, 3), "b": (2, 3)}))


@pytest.fixture
def session(path):
    session = aclruntime.InferenceSession(path, 0, aclruntime.session_options())
    yield session
    session.finalize()


def base(array: np.ndarray) -> aclruntime.BaseTensor:
    return aclruntime.BaseTensor(array.__array_interface__["data"][0], array.nbytes)


def test_descriptors(session):
    first, output = session.get_inputs()[0], session.get_outputs()[0]
    assert (first.name, first.datatype, first.shape, first.size, first.realsize) == ("a", 9, [2, 3], 48, 48)
    assert first.datatype is aclruntime.dtype.int64 and first.format is aclruntime.format.ND
    assert (output.name, output.datatype, output.realsize) == ("Sum_1:0:total", 0, 24)
    assert str(session).startswith("<Model>\ndevice:0\ninput:\n  #0    a  (2, 3)  int64  48  48\n")


def test_wrong_feeds(session):
    good = [aclruntime.Tensor(A), aclruntime.Tensor(B)]
    assert session.run([], good) == []
    with pytest.raises(TypeError):
        session.run(None, good)
    with pytest.raises(RuntimeError, match="no output 'nothing'"):
        session.run(["nothing"], good)
    with pytest.raises(TypeError):
        session.run(["Sum_1:0:total"], {"a": A, "b": B})
    with pytest.raises(RuntimeError, match="no \\['c'\\]"):
        session.run(["Sum_1:0:total"], {"a": good[0], "c": good[1]})
    with pytest.raises(RuntimeError, match=r"\[-1\]\[ACL: general failure\]"):
        session.run(["Sum_1:0:total"], good[:1])


def test_times_in_both_generations(session):
    session.options().loop = 3
    session.run(["Sum_1:0:total"], [base(A), base(B)])
    assert len(session.sumary().exec_time_list) == 3
    assert [end - start for start, end in session.summary().exec_time_list] == session.sumary().exec_time_list
    session.reset_sumaryinfo()
    assert session.sumary().exec_time_list == []


def test_pipeline_sets_each_runs_shape(tmp_path):
    path = write_sum(tmp_path / "x.om", {"a": (-1, 3)}, mode="dynamic_dims", gears=((1,), (2,)))
    session = aclruntime.InferenceSession(str(path), 0, aclruntime.session_options())
    outputs = session.run_pipeline(["Sum_1:0:total"], [[base(A)], [base(A[:1])]], [[(2, 3)], [(1, 3)]], False, True)
    assert [np.array(tensor).shape for tensor, in outputs] == [(2, 3), (1, 3)]


def test_enums():
    tensor = aclruntime.Tensor(np.zeros(2))
    assert tensor.dtype is aclruntime.dtype.double and tensor.type is aclruntime.type.memory_host
    assert tensor.to_device(0).type is aclruntime.type.memory_device


def test_copies_are_timed(session):
    MemorySummary.reset()
    aclruntime.Tensor(A).to_device(0).to_host()
    assert len(aclruntime.MemorySummary().H2D_time_list) == 1
    assert MemorySummary.get_h2d_time_list() == MemorySummary.get_H2D_time_list()
    assert len(MemorySummary.get_D2H_time_list()) == 1


def test_copies_are_copies():
    array = A.copy()
    tensor = aclruntime.Tensor(array).to_device(0)
    array[:] = 9
    assert (np.array(tensor.to_host()) == 1).all()


def test_log_lines(path, capfd):
    aclruntime.InferenceSession(path, 1, aclruntime.session_options()).finalize()
    said = capfd.readouterr().out.splitlines()
    assert said == [
        "[INFO] acl init success", "[INFO] open device 1 success", "[INFO] create new context",
        f"[INFO] load model {path} success", "[INFO] create model description success",
        "[INFO] unload model success, model Id is 1", "[INFO] end to destroy context",
        "[INFO] end to reset device is 1", "[INFO] end to finalize acl",
    ]


def test_infer_session(path):
    session = InferSession(0, path)
    assert (session.infer([A, B])[0] == 21).all()
    assert (session.infer([A.T.copy().T, B], mode="static")[0] == 21).all()
    on_device = session.run([A, B])
    session.convert_tensors_to_host(on_device)
    assert (session.convert_tensors_to_arrays(on_device)[0] == 21).all()
    assert len(session.sumary().exec_time_list) == len(session.summary().exec_time_list) == 3
    session.reset_summaryinfo()
    assert [outputs[0].max() for outputs in session.infer_pipeline([[A, B], [B, A]])] == [21, 12]
    for wrong in ([A, "text"], [A]):
        with pytest.raises(RuntimeError):
            session.infer(wrong)
    with pytest.raises(RuntimeError, match="wrong infer_mode"):
        session.infer([A, B], mode="dymdim")
    session.free_resource()
    InferSession.finalize()


def test_infer_session_takes_torch(path):
    torch = pytest.importorskip("torch")
    assert (InferSession(0, path).infer([torch.from_numpy(A), torch.from_numpy(B)])[0] == 21).all()


def test_infer_iteration_feeds_outputs_back(tmp_path):
    path = write_sum(tmp_path / "x.om", {"a": (2, 3), "b": (2, 3)}, dtype="float32")
    one = np.ones((2, 3), np.float32)
    # total = a + 10 b, and total goes into a: 11, 21, 31
    assert (InferSession(0, str(path)).infer_iteration([one, one], [0, -1], 3)[0] == 31).all()


@pytest.mark.parametrize(("mode", "compiled", "gears"), [
    ("dymbatch", "dynamic_batch", ((1, 1), (2, 2))), ("dymdims", "dynamic_dims", ((1, 1), (2, 2))),
    ("dymshape", "dynamic_shape", ()),
])
def test_infer_modes(tmp_path, mode, compiled, gears):
    path = write_sum(tmp_path / "x.om", {"a": (-1, 3), "b": (-1, 3)}, mode=compiled, gears=gears)
    session = InferSession(0, str(path))
    for n in (2, 1):
        assert session.infer([A[:n], B[:n]], mode=mode)[0].shape == (n, 3)
    if gears:
        with pytest.raises(RuntimeError):
            session.infer([np.ones((3, 3), np.int64)] * 2, mode=mode)


def test_multi_device_session(path):
    session = MultiDeviceSession(path)
    outputs = session.infer({0: [[A, B]], 1: [[B, A]]})
    assert outputs[0][0][0].max() == 21 and outputs[1][0][0].max() == 12
    assert len(session.summary()[1][0]) == 1
