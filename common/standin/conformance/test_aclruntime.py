"""aclruntime and InferSession, as scripts use them."""
import pytest
from graphs import FLOAT, samples, summing

TOOL = "aclruntime"
pytestmark = pytest.mark.device
OPEN = """
import json
import aclruntime
import numpy as np
from ais_bench.infer.interface import InferSession
A, B = np.full((2, 3), 1, np.int64), np.full((2, 3), 2, np.int64)
session = aclruntime.InferenceSession("m.om", 0, aclruntime.session_options())
(first, second), (output,) = session.get_inputs(), session.get_outputs()
def tensors(): return [aclruntime.Tensor(A), aclruntime.Tensor(B)]
def base(a): return aclruntime.BaseTensor(a.__array_interface__["data"][0], a.nbytes)
def value(tensor):
    tensor.to_host()
    return float(np.array(tensor).max())
def raised(call):
    try:
        call()
    except (RuntimeError, TypeError) as error:
        return "RuntimeError" if isinstance(error, RuntimeError) else "TypeError"
    return "nothing"
"""


@pytest.fixture
def two(case):
    """m.om adds a + 10 b, int64 [2, 3]: 21 for ones and twos."""
    summing(case.folder / "m.onnx", {"a": (2, 3), "b": (2, 3)})
    case.atc()
    return case


SEEN = {  # fact: an expression, what it is known to be
    "acl.options": ("(lambda o: [o.log_level, o.loop, o.acl_json_path])(aclruntime.session_options())", [2, 1, ""]),
    "acl.input_descriptor": ("[first.name, int(first.datatype), list(first.shape), first.size, first.realsize]",
                             ["a", 9, [2, 3], 48, 48]),
    "acl.output_descriptor": ("[output.name, int(output.datatype), output.realsize]", ["last:0:total", 0, 24]),
    "acl.format": ("int(first.format)", 2),
    "acl.str": ("str(session).splitlines()[:3]", ["<Model>", "device:0", "input:"]),
    "acl.feeds_list": ("value(session.run([output.name], [t for t in tensors() if t.to_device(0) or True])[0])", 21.0),
    "acl.feeds_dict": ("value(session.run([output.name], {'b': aclruntime.Tensor(B), 'a': aclruntime.Tensor(A)})[0])",
                       21.0),
    "acl.feeds_base": ("value(session.run([output.name], [base(A), base(B)])[0])", 21.0),
    "acl.device_tensors": ("raised(lambda: np.array(session.run([output.name], [base(A), base(B)])[0]))",
                           "RuntimeError"),
    "acl.no_outnames": ("session.run([], [base(A), base(B)])", []),
    "acl.outnames_none": ("raised(lambda: session.run(None, [base(A), base(B)]))", "TypeError"),
    "acl.unknown_output": ("raised(lambda: session.run(['nothing'], [base(A), base(B)]))", "RuntimeError"),
    "acl.arrays_in_dict": ("raised(lambda: session.run([output.name], {'a': A, 'b': B}))", "TypeError"),
    "acl.too_few_feeds": ("raised(lambda: session.run([output.name], [base(A)]))", "RuntimeError"),
    "acl.sumary": ("[session.run([output.name], [base(A), base(B)]) and 0, type(session.sumary().exec_time_list[0]).__name__][1]", "float"),
    "acl.reset_sumaryinfo": ("[session.reset_sumaryinfo(), list(session.sumary().exec_time_list)][1]", []),
    "acl.copies": ("value([t.to_device(0) for t in [aclruntime.Tensor(A)]] and aclruntime.Tensor(A))", 1.0),
    "infer_session.infer": ("float(InferSession(0, 'm.om').infer([A, B])[0].max())", 21.0),
    "infer_session.not_contiguous": ("float(InferSession(0, 'm.om').infer([A.T.copy().T, B])[0].max())", 21.0),
    "infer_session.names": ("[t.name for t in InferSession(0, 'm.om').get_inputs()]", ["a", "b"]),
    "infer_session.wrong_type": ("raised(lambda: InferSession(0, 'm.om').infer([A, 'text']))", "RuntimeError"),
    "infer_session.too_few": ("raised(lambda: InferSession(0, 'm.om').infer([A]))", "RuntimeError"),
    "infer_session.wrong_mode": ("raised(lambda: InferSession(0, 'm.om').infer([A, B], mode='dymdim'))",
                                 "RuntimeError"),
    "infer_session.summary": ("hasattr(InferSession(0, 'm.om'), 'summary')", True),
    "infer_session.pipeline": ("[float(o[0].max()) for o in InferSession(0, 'm.om').infer_pipeline([[A, B], [B, A]])]",
                               [21.0, 12.0]),
    "infer_session.iteration": ("hasattr(InferSession(0, 'm.om'), 'infer_iteration')", True),
    "infer_session.free_resource": ("InferSession(0, 'm.om').free_resource()", None),
}


@pytest.mark.parametrize("fact", SEEN)
def test_sees(two, fact):
    expression, expected = SEEN[fact]
    two.sees(fact, two.python("acl.answers", f"{OPEN}\nprint()\nprint(json.dumps({expression}))"), expected)


@pytest.mark.parametrize("mode, options", [
    ("dymbatch", '--input_shape="a:-1,3;b:-1,3" --dynamic_batch_size=1,2'),
    ("dymdims", '--input_shape="a:-1,3;b:-1,3" --dynamic_dims="1,1;2,2"')])
def test_infer_modes(case, mode, options):
    summing(case.folder / "m.onnx", {"a": ("n", 3), "b": ("n", 3)})
    case.atc(options)
    seen = case.python("infer_session.modes", f"""
import json, numpy as np
from ais_bench.infer.interface import InferSession
session = InferSession(0, "m.om")
print(json.dumps([list(session.infer([np.ones((n, 3), np.int64)] * 2, mode="{mode}")[0].shape) for n in (2, 1)]))
""")
    case.sees("infer_session.modes", seen, [[2, 3], [1, 3]])


def test_tensor_from_files(two):
    samples(two.folder / "a", 2, (1, 3), name="{}.bin")
    seen = two.python("acl.tensor_from_files", f"""{OPEN}
tensor = session.create_tensor_from_fileslist(first, ["a/0.bin", "a/1.bin"])
tensor.to_host()
print(json.dumps(np.array(tensor).reshape(2, 3).tolist()))
""")
    two.sees("acl.tensor_from_files", seen, [[0, 0, 0], [1, 1, 1]])


def test_outputs_go_back_in(case):
    summing(case.folder / "m.onnx", {"a": (2, 3), "b": (2, 3)}, FLOAT)
    case.atc()
    seen = case.python("infer_session.iteration", """
import json, numpy as np
from ais_bench.infer.interface import InferSession
one = np.ones((2, 3), np.float32)
print(json.dumps(float(InferSession(0, "m.om").infer_iteration([one, one], [0, -1], 3)[0].max())))
""")  # total = a + 10 b, and total goes into a: 11, 21, 31
    case.sees("infer_session.iteration", seen, 31.0)
