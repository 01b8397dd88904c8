"""The trace: against eager PyTorch, its mask constant found and patched in the archive; half precision's trap; the NPU's packages."""
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scripts
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import conll2003
import recipes
import torch_backends
import trace_archive
from npukit.corpus import store, wordpiece
from npukit.errors import JobFailed, UserError
from npukit.nets import bert

TINY = HERE.parents[1] / "data" / "tiny" / "bert_large_ner"
LOWEST = float(np.finfo(np.float32).min)
export_trace_model, run_torch_aie = (scripts.load(HERE / f"{name}.py") for name in ("export_trace_model", "run_torch_aie"))
torch.set_num_threads(1)  # nothing here is large
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")


def call(script, *flags):
    """Run a script in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__file__, *map(str, flags)])
        script.main()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A Hugging Face directory of a tiny random network."""
    folder = tmp_path_factory.mktemp("model")
    bert.load("TokenClassification", TINY, labels=9, seed=1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def net(model):
    return bert.load("TokenClassification", model, labels=9)


@pytest.fixture(scope="module")
def traces(model):
    """(the trace as it was exported, the patched one)."""
    call(export_trace_model, "--model_path", model, "--save_path", model / "kept.pt", "--keep_mask")
    call(export_trace_model, "--model_path", model, "--save_path", model / "bert_large_ner.pt")
    return model / "kept.pt", model / "bert_large_ner.pt"


def samples(lengths=(9, 4, 30), width=30):
    """Return ids and mask of samples of these lengths."""
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 190, (len(lengths), width), generator=random)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return ids * mask, mask


# --- The trace and its patch


@pytest.mark.parametrize("which", [0, 1], ids=["as exported", "patched"])
@torch.inference_mode()
def test_the_trace_is_the_network(net, traces, which):
    module = torch.jit.load(traces[which])
    for ids, mask in (samples(), samples((1,), 7), samples((512, 20), 512)):
        wanted = net(input_ids=ids, attention_mask=mask, token_type_ids=mask * 0).logits
        made = module(ids, mask, mask * 0)
        assert isinstance(made, tuple) and torch.allclose(made[0][mask == 1], wanted[mask == 1], atol=1e-5)


def contents(path):
    """Return what the archive holds, and the names of the folder that everything in it lies in."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return ({name.partition("/")[2]: archive.read(name) for name in archive.namelist()},
                {name.partition("/")[0] for name in archive.namelist()})


def test_the_patch(traces, tmp_path):
    [before] = trace_archive.mask_constants(trace_archive.load(traces[0]))
    assert before.value == LOWEST and before.file.endswith("modeling_bert.py") and not before.is_tensor
    trace = tmp_path / "bert_large_ner.pt"
    trace.write_bytes(traces[0].read_bytes())
    assert trace_archive.patch_mask(trace, -1000.0) == [f"{before.file}:{before.line}: the mask constant -3.40282e+38 became -1000"]
    assert trace_archive.mask_constants(trace_archive.load(trace)) == [] == trace_archive.mask_constants(trace_archive.load(traces[1]))
    (old, _), (new, _) = contents(traces[0]), contents(trace)
    assert list(old) == list(new) and [name for name in old if old[name] != new[name]] == [before.file]
    changed = [pair for pair in zip(old[before.file].split(b"\n"), new[before.file].split(b"\n")) if len(set(pair)) > 1]
    assert changed == [(line := changed[0][0], line.replace(b"-3.4028234663852886e+38", b"-1000.0"))] and b"torch.where(" in line
    assert contents(traces[1])[1] == {"bert_large_ner"}, "as the original's archive is called"


class Attention(torch.nn.Module):
    """Attention over x [N, L, L] as exporters write it, the mask made in one of several forms; other low constants stand beside."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x, mask):
        kept = mask.to(x.dtype)[:, None]
        if self.form == "mul":  # transformers 4
            added = (1.0 - kept) * LOWEST
        elif self.form == "where":
            added = torch.where(kept > 0, 0.0, -1e9)
        elif self.form == "masked_fill":
            return (x * 2).masked_fill(kept == 0, float("-inf")).softmax(-1), x.clamp(min=-7e4)
        return (x + added).softmax(-1), x.clamp(min=-7e4)


@pytest.mark.parametrize("form, value", [("mul", LOWEST), ("where", -1e9), ("masked_fill", -np.inf)])
def test_the_constant_is_found_by_what_the_code_does(tmp_path, form, value):
    net, x = Attention(form).eval(), torch.randn(2, 6, 6)
    mask = torch.ones(2, 6, dtype=torch.int64)
    mask[0, 4:] = 0
    torch.jit.save(torch.jit.trace(net, (x, mask)), tmp_path / "trace.pt")
    assert [use.value for use in trace_archive.mask_constants(torch.jit.load(tmp_path / "trace.pt"))] == [value]
    [said] = trace_archive.patch_mask(tmp_path / "trace.pt", -1000.0)
    assert re.fullmatch(rf"code/\S+:\d+: the mask constant {re.escape(f'{value:g}')} became -1000", said)
    probabilities, clamped = torch.jit.load(tmp_path / "trace.pt")(x, mask)
    assert torch.allclose(probabilities, net(x, mask)[0]) and torch.isfinite(probabilities).all()
    assert clamped.equal(x) and torch.jit.load(tmp_path / "trace.pt")(x - 1e5, mask)[1].min() == -7e4, "what is no mask stays"
    with pytest.raises(JobFailed, match="no constant below -65504 flows into a softmax; there is nothing to patch"):
        trace_archive.patch_mask(tmp_path / "trace.pt", -1000.0)


def test_a_patch_that_half_precision_cannot_hold_is_caught(traces, tmp_path):
    trace = tmp_path / "bert_large_ner.pt"
    trace.write_bytes(traces[0].read_bytes())
    with pytest.raises(JobFailed, match=r"after the patch \S+modeling_bert\.py:\d+ still masks with -100000"):
        trace_archive.patch_mask(trace, -1e5)
    assert trace.read_bytes() == traces[0].read_bytes() and list(tmp_path.iterdir()) == [trace]


@pytest.mark.parametrize("line, is_tensor, found", [
    ("a = torch.where(m, z, -1.5)", False, 0), ("a = torch.where(m, -7e+04, -7e+04)", False, 2),
    ("a = torch.mul(CONSTANTS.c1, CONSTANTS.c0)", True, 2), ("a = torch.mul(x, 2)", True, 0)])
def test_a_line_that_does_not_hold_the_constant_once_is_refused(line, is_tensor, found):
    with pytest.raises(JobFailed, match=rf"code/a\.py:1 is to hold the constant -70000 once, found {found}: a = "):
        trace_archive.replaced(line, trace_archive.Use("code/a.py", 1, -7e4, is_tensor), -1000.0)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_trace(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(JobFailed, match=r"a\.pt is no TorchScript archive: "):
        trace_archive.load(tmp_path / "a.pt")


def test_a_trace_that_is_not_the_network_is_caught(model, tmp_path, monkeypatch):
    whole = export_trace_model.trace

    def other(net, path):
        with torch.no_grad():
            net.classifier.bias += 0.01
            whole(net, path)
            net.classifier.bias.copy_(torch.zeros(9))
        torch.nn.init.normal_(net.classifier.weight)

    monkeypatch.setattr(export_trace_model, "trace", other)
    with pytest.raises(JobFailed, match="the trace is not the network: on 1 samples of 5 pieces the logits are"):
        call(export_trace_model, "--model_path", model, "--save_path", tmp_path / "bert_large_ner.pt")
    assert not list(tmp_path.iterdir())


# --- Half precision's trap, on the attention scores of real sentences


@pytest.fixture(scope="module")
def scores(net):
    """(scores float32 [N, heads, L, L] of the first layer, mask [N, L]) of the tiny corpus' first sentences."""
    made = recipes.encode(TINY, conll2003.read(TINY / "test.txt")[:8], wordpiece.load(TINY), "npukit", 512)
    samples = store.join(recipes.INPUTS, made.inputs())
    arrays = samples.padded(np.arange(8), samples.lengths.max())
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.inference_mode():
        hidden = net.bert.embeddings(input_ids=tensors["input_ids"], token_type_ids=tensors["token_type_ids"])
        layer = net.bert.encoder.layer[0].attention.self
        q, k = (f(hidden).unflatten(-1, (layer.num_attention_heads, -1)).transpose(1, 2) for f in (layer.query, layer.key))
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).numpy(), arrays["attention_mask"]


def softmax(x):
    with np.errstate(invalid="ignore"):
        made = np.exp(x - x.max(-1, keepdims=True))
        return made / made.sum(-1, keepdims=True)


def half_attention(scores, mask, constant, form, saturates):
    """Return Softmax(scores + mask) with everything before the Softmax in half precision: overflow to -inf, or to -65504."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = np.float16(max(constant, -65504.0) if saturates else constant)
        keep = mask[:, None, None, :].astype(np.float16)
        added = (np.float16(1) - keep) * half if form == "mul" else np.where(keep == 1, np.float16(0), half)
        total = np.float16(scores) + added
        if saturates:
            total = np.maximum(total, np.float16(-65504))
        return softmax(total.astype(np.float32))


@pytest.mark.parametrize("form", ["mul", "where"])
@pytest.mark.parametrize("saturates", [False, True], ids=["overflows", "saturates"])
@pytest.mark.parametrize("constant", [LOWEST, -1e9, -65536.0, -10000.0, -1000.0])
def test_the_trap(scores, constant, form, saturates):
    """What half precision makes of a padded sentence: NaN where it overflows and is multiplied by 0, else what fp32 makes."""
    values, mask = scores
    exact = softmax(np.where(mask[:, None, None, :] == 1, values, -np.inf))
    made = half_attention(values, mask, constant, form, saturates)
    if constant < -65504 and form == "mul" and not saturates:
        assert np.isnan(made).all(), "0 * -inf: every unmasked piece, so every row"
    else:
        assert np.abs(made - exact).max() < 5e-3


@pytest.mark.parametrize("constant, saturates, outcome", [
    (LOWEST, False, "nan"), (LOWEST, True, "uniform"), (-10000.0, False, "coarse"), (-1000.0, False, "kept")])
def test_the_trap_where_everything_is_masked(scores, constant, saturates, outcome):
    """The original's torch-aie call masks every position: then the scores behind the constant decide, as far as they survive."""
    values, mask = scores
    made, exact = half_attention(values, mask * 0, constant, "where", saturates), softmax(values)
    error, uniform = np.abs(made - exact).max(), 1 / values.shape[-1]
    if outcome == "nan":
        assert np.isnan(made).all()
    elif outcome == "uniform":
        assert np.allclose(made, uniform) and error > 0.01, "the scores have drowned"
    elif outcome == "coarse":
        assert error > 0.01 and np.isfinite(made).all(), "kept to multiples of 8"
    else:
        assert np.abs(made / exact - 1).max() < np.exp(0.5) - 1 + 0.1, "kept to halves, so each exponential to a factor below e ** 0.5"
        assert np.corrcoef(made.ravel(), exact.ravel())[0, 1] > 0.8


# --- run_torch_aie.py on the CPU


def run_flags(model, *more):
    return ["--ts_model_path", model / "bert_large_ner.pt", "--model_config_path", TINY, "--test_file_path", TINY / "test.txt", *more]


def reference(net, recipe, swapped, length):
    """Return eager PyTorch's logits on the corpus, one sample at a time, filled up to a length."""
    made = recipes.encode(TINY, conll2003.read(TINY / "test.txt"), wordpiece.load(TINY), recipe, 512)
    samples, outputs = store.join(recipes.INPUTS, made.inputs()), []
    with torch.inference_mode():
        for row in range(len(samples)):
            ids, mask, types = map(torch.from_numpy, samples.padded(np.array([row]), length).values())
            mask, types = (types, mask) if swapped else (mask, types)
            outputs.append(net(input_ids=ids, attention_mask=mask, token_type_ids=types).logits[0].numpy())
    return made, np.stack(outputs)


@pytest.mark.parametrize("batch, seq_len", [(1, "512"), (8, "16,64,512")])
def test_the_cpu_answers_as_pytorch(net, model, traces, tmp_path, capsys, batch, seq_len):
    call(run_torch_aie, *run_flags(model, "--backend", "cpu", "--batch_size", batch, "--seq_len", seq_len, "--save_path", tmp_path))
    made, wanted = reference(net, "npukit", False, 512)
    logits, result = np.load(tmp_path / "logits.npy"), json.loads((tmp_path / "result.json").read_text())
    places = made.words[:, 1], made.words[:, 2]
    assert np.abs(logits[places] - wanted[places]).max() < 1e-4
    assert result["backend"].startswith("TorchScript on the CPU") and result["precision"] == "fp32" and result["samples"] == len(made.rows)
    assert result["metrics"] == recipes.task_of(made.words).metrics(logits)
    printed = capsys.readouterr().out
    assert re.search(r"^backend: TorchScript on the CPU.*\nAccuracy= *[\d.]+% \(O everywhere: 64\.57%\), entity F1= *[\d.]+%\n"
                     r"Pure model inference performance= [\d.]+ ms\nPerformance= [\d.]+ it/s$", printed.strip())


def test_what_preprocess_left_is_answered_as_the_text_is(model, traces, tmp_path):
    text = ["--input_file", TINY / "test.txt", "--model_name_from_hub", TINY]
    call(scripts.load(HERE / "preprocess.py"), *text, "--save_path", tmp_path / "inputs")
    flags = ["--backend", "cpu", "--batch_size", 8, "--seq_len", "16,64,512"]
    call(run_torch_aie, *run_flags(model, *flags, "--save_path", tmp_path / "text"))
    call(run_torch_aie, "--ts_model_path", model / "bert_large_ner.pt", *flags, "--inputs", tmp_path / "inputs",
         "--save_path", tmp_path / "stored")
    assert np.array_equal(*(np.load(tmp_path / name / "logits.npy") for name in ("text", "stored")))


def test_the_originals_call_swaps_mask_and_types_and_nothing_else_does(net, model, traces, tmp_path):
    """With -1000 in place of the smallest float the scores survive where everything is masked, so eager must have it too."""
    call(run_torch_aie, *run_flags(model, "--backend", "cpu", "--batch_size", 8, "--recipe", "original", "--save_path", tmp_path))
    logits = np.load(tmp_path / "logits.npy")
    module = torch.jit.load(model / "bert_large_ner.pt")

    def traced(input_ids, attention_mask, token_type_ids):
        return type("Output", (), {"logits": module(input_ids, attention_mask, token_type_ids)[0]})

    for swapped in (True, False):
        made, wanted = reference(traced, "original", swapped, 512)
        places = made.words[:, 1], made.words[:, 2]
        assert (np.abs(logits[places] - wanted[places]).max() < 1e-4) == swapped


@pytest.mark.parametrize("flags, reason", [
    (["--recipe", "original", "--seq_len", "64,512"], "its answers depend on the length; give one --seq_len, not 2"),
    (["--seq_len", "auto"], "expected lengths up to 512"), (["--seq_len", "600"], "expected lengths up to 512"),
    (["--batch_size", "0"], "--batch_size is 0"), (["--backend", "torch_aie"], "it is not installed; --backend auto takes what there is"),
    (["--test_file_path", "no.txt"], "no.txt is not there"), (["--model_config_path", "no"], "--model_config_path is a Hugging Face")])
def test_a_wrong_call_is_answered_in_a_sentence(model, traces, flags, reason):
    with pytest.raises(UserError, match=reason):
        call(run_torch_aie, *run_flags(model, *flags))


# --- torch_aie and mindietorch, by a package that writes down how it is called

FAKE = '''
import json, os
import torch
__version__ = "6.3"
calls = []
def note(*call):
    with open(os.environ["FAKE_LOG"], "a") as log:
        log.write(json.dumps([__name__, *call], default=str) + "\\n")
class Input:
    def __init__(self, shape, dtype): self.text = f"{list(shape)} {dtype}"
    def __str__(self): return self.text
class PrecisionPolicy: FP16 = "FP16"
def set_device(number): note("set_device", number)
def compile(module, **options):
    note("compile", options)
    if os.environ.get("FAKE_FAILS"): raise RuntimeError("no kernel\\n for it")
    return module
class npu:
    class Stream:
        def __init__(self, device): note("Stream", device)
        def synchronize(self): note("synchronize")
    class stream:
        def __init__(self, stream): pass
        def __enter__(self): note("enter")
        def __exit__(self, *error): note("exit")
torch.Tensor.to_as_it_was = torch.Tensor.to
def to(self, target, *rest, **more):
    if isinstance(target, str) and target.startswith("npu"):
        note("to", target); return self
    return self.to_as_it_was(target, *rest, **more)
torch.Tensor.to = to
'''


def with_package(model, folder, name, *flags, fake=FAKE, **more):
    """Run run_torch_aie.py with a package of this name; return (CompletedProcess, its calls)."""
    (folder / f"{name}.py").write_text(fake)
    log = folder / "calls.jsonl"
    environment = scripts.environment(FAKE_LOG=str(log), OMP_NUM_THREADS="1", **more)
    environment["PYTHONPATH"] += os.pathsep + str(folder)
    done = subprocess.run([sys.executable, HERE / "run_torch_aie.py", *map(str, run_flags(model, *flags))], capture_output=True, text=True,
                          env=environment)
    return done, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize("name, flags, inputs", [
    pytest.param("torch_aie", ["--device", 1, "--seq_len", 512, "--batch_size", 4], ["[4, 512] torch.int64"] * 3,
                 marks=pytest.mark.long),
    ("mindietorch", ["--seq_len", "64,512", "--soc_version", "Ascend310P1"],
     [["[1, 64] torch.int64"] * 3, ["[1, 512] torch.int64"] * 3])])
def test_the_package_is_called_as_the_original_calls_it(model, traces, tmp_path, name, flags, inputs):
    done, calls = with_package(model, tmp_path, name, *flags, "--save_path", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"backend: {name} 6.3\n")
    device = flags[1] if "--device" in flags else 0
    assert calls[:2] == [[name, "set_device", device], [name, "Stream", f"npu:{device}"]]
    assert calls[2] == [name, "compile", {
        "inputs": inputs, "precision_policy": "FP16", "truncate_long_and_double": True, "require_full_compilation": False,
        "allow_tensor_replace_int": True, "torch_executed_ops": [], "optimization_level": 0,
        "soc_version": "Ascend310P1" if "--soc_version" in flags else "Ascend310P3"}]
    assert calls[3:10] == [[name, "to", f"npu:{device}"]] * 3 + [[name, call] for call in ("enter", "synchronize", "exit", "enter")]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["backend"] == f"{name} 6.3" and result["precision"] == "fp16"


def test_torch_aie_comes_before_its_successor_and_the_cpu_when_asked(tmp_path, monkeypatch):
    installed = {"torch_aie", "mindietorch"}
    fake = type("package", (), {"__name__": "x", "set_device": lambda n: None, "npu": type("npu", (), {"Stream": lambda device: device})})
    monkeypatch.setattr(torch_backends.importlib.util, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(torch_backends.importlib, "import_module", lambda name: asked.append(name) or fake)
    for wanted, chosen in (("auto", ["torch_aie"]), ("mindietorch", ["mindietorch"]), ("cpu", [])):
        asked = []
        backend = torch_backends.choose(wanted, 0, "Ascend310P3")
        assert asked == chosen and isinstance(backend, torch_backends.Npu if chosen else torch_backends.Cpu)


@pytest.mark.parametrize("fake, more, reason", [
    (FAKE, {"FAKE_FAILS": "1"}, "torch_aie 6.3 does not compile the trace: no kernel for it"),
    ("raise ImportError('libascendcl.so: cannot open')", {}, "torch_aie is installed and does not load: libascendcl.so: cannot open")])
def test_a_package_that_fails_is_answered_in_a_sentence(model, traces, tmp_path, fake, more, reason):
    done, _ = with_package(model, tmp_path, "torch_aie", fake=fake, **more)
    assert done.returncode == 1 and reason in done.stderr and "Traceback" not in done.stderr
