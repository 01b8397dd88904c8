"""python3 -m ais_bench: files in, files out, and the lines that scripts parse."""
import itertools
import json
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from graphs import FLOAT, INT32, INT64, samples, save, summing

TOOL = "ais_bench"
pytestmark = pytest.mark.device
N = r"[0-9.e+-]+"
TIMES = rf"min = {N}, max = {N}, mean = {N}, median = {N}, percentile\(99%\) = {N}"
THROUGHPUT = re.compile(rf"throughput 1000\*batchsize(?:\.mean)?\(({N})\)/NPU_compute_time\.mean\(({N})\): ({N})")  # of both generations
INTO = "--output out --output_dirname d"
SHAPES = {"a": (4, 3), "b": (4, 3)}


@pytest.fixture
def two(case):
    """m.om adds a + 10 b, int64 [4, 3]; eleven samples of each: a's i-th is i, b's is 100 + i."""
    summing(case.folder / "m.onnx", SHAPES)
    case.atc()
    samples(case.folder / "a", 11, (1, 3))
    samples(case.folder / "b", 11, (1, 3), start=100)
    return case


def answers(case, names, folder="out/d") -> list[float]:
    """Return the largest number of each output file; -1 for one that is not there."""
    paths = [case.folder / folder / name for name in names]
    return [float(np.load(path).max()) if path.exists() else -1.0 for path in paths]


NAMES = [f"data_{i}_0.npy" for i in range(11)]
TOTALS = [i + 10.0 * (100 + i) for i in range(11)]


def test_files_in_files_out(two):
    two.bench(f"--model m.om --input a,b {INTO} --outfmt NPY")
    two.sees("ais_bench.output_names", sorted(path.name for path in two.folder.glob("out/d/*")), sorted(NAMES))
    two.sees("ais_bench.pairs_in_natural_order", answers(two, NAMES), TOTALS)
    one = np.load(two.folder / "out/d/data_0_0.npy")
    two.sees("ais_bench.splits_batches", [list(one.shape), one.dtype.name], [[1, 3], "float32"])


LINES = {  # in the order of the log
    "acl init": r"acl init success", "open device": r"open device 0 success", "create context": r"create new context",
    "load model": r"load model \S*m\.om success", "description": r"create model description success",
    "batch size": r"try get model batchsize:4", "output path": r"output path:\S*out/d",
    "files": r"get filesperbatch files0 size:24 tensor0size:96 filesperbatch:4 runcount:3",
    "warm up": r"warm up 1 done", "rule": r"-----------------Performance Summary------------------",
    "times": rf"NPU_compute_time \(ms\): {TIMES}", "throughput": r"throughput .*",
    "end rule": r"------------------------------------------------------",
    "unload": r"unload model success, model Id is 1", "destroy": r"end to destroy context",
    "reset": r"end to reset device is 0", "finalize": r"end to finalize acl",
}


def test_log_lines(two):
    done = two.bench(f"--model m.om --input a,b {INTO}")
    text = f"{done.stdout}\n{done.stderr}"
    two.sees("ais_bench.log_lines",
             [name for name, line in LINES.items() if not re.search(rf"^\[INFO\] {line}$", text, re.M)], [])
    line = next((line for line in text.splitlines() if "throughput" in line), "none")
    two.sees("ais_bench.throughput_line", line,
             re.compile(rf"^\[INFO\] throughput 1000\*batchsize\.mean\({N}\)/NPU_compute_time\.mean\({N}\): {N}$"))
    two.sees("ais_bench.log_on_stdout", "Performance Summary" in done.stdout, True)
    two.sees("ais_bench.progress_on_stderr", done.stderr, re.compile(r"Inference array Processing: 100%"))


def test_summary_beside_the_folder(two):
    done = two.bench(f"--model m.om --input a,b {INTO} --loop 2")
    path = two.folder / "out/d_summary.json"
    two.sees("ais_bench.summary_place", [str(p.relative_to(two.folder)) for p in two.folder.glob("out/**/*.json")],
             ["out/d_summary.json"])
    summary = json.loads(path.read_text())
    keys = {"filesinfo", "NPU_compute_time", "H2D_latency", "D2H_latency", "throughput", "npu_compute_time_list", "pid",
            "args"}
    two.sees("ais_bench.summary_keys", sorted(keys - set(summary)), [])
    files = {side: [Path(name).name for name in names] for side, names in summary["filesinfo"]["10"].items()}
    two.sees("ais_bench.filesinfo", files, {"infiles": ["data_10.npy", "data_10.npy"], "outfiles": ["data_10_0.bin"]})
    two.sees("ais_bench.time_list", [type(t).__name__ for t in summary["npu_compute_time_list"]], ["float"] * 6)
    two.sees("ais_bench.statistics", sorted(summary["NPU_compute_time"]),
             ["count", "max", "mean", "median", "min", "percentile(99%)"])
    batch, mean, throughput = map(float, THROUGHPUT.search(done.stdout + done.stderr).groups())
    two.sees("ais_bench.throughput", [batch, throughput == pytest.approx(1000 * 4 / mean, rel=1e-3)], [4.0, True])


def test_modes_of_what_it_writes(two):
    two.bench(f"--model m.om --input a,b {INTO}")
    two.sees("ais_bench.folder_mode", oct(stat.S_IMODE((two.folder / "out/d").stat().st_mode)), "0o750")


def test_dated_folder(two):
    two.bench("--model m.om --input a,b --output out")
    names = sorted(path.name for path in (two.folder / "out").iterdir())
    two.sees("ais_bench.dated_folder", names[0], re.compile(r"^\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d$"))
    two.sees("ais_bench.summary_name", names[1:], [f"{names[0]}_summary.json"])


def test_default_format_is_bin(two):
    two.bench(f"--model m.om --input a,b {INTO}")
    two.sees("ais_bench.bin", (two.folder / "out/d/data_0_0.bin").stat().st_size, 12)


def test_text_output(two):
    two.bench(f"--model m.om --input a,b {INTO} --outfmt TXT")
    two.sees("ais_bench.txt", " ".join((two.folder / "out/d/data_1_0.txt").read_text().split()),
             "1011.000000 1011.000000 1011.000000")


def test_stem_ends_at_the_first_dot(case):
    summing(case.folder / "m.onnx", {"a": (1, 3)})
    case.atc()
    samples(case.folder / "in", 2, (1, 3), name="s{}.part.bin")
    case.bench(f"--model m.om --input in {INTO}")
    case.sees("ais_bench.stem", sorted(path.name for path in case.folder.glob("out/d/*")), ["s0_0.bin", "s1_0.bin"])


def test_flat_list_of_files(two):
    two.bench("-m m.om -i a/data_0.npy,a/data_1.npy,b/data_0.npy,b/data_1.npy -o out --output_dirname d --outfmt NPY")
    two.sees("ais_bench.flat_list", answers(two, NAMES[:2]), TOTALS[:2])


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_answers_do_not_depend_on_the_batch_size(two, batch):
    summing(two.folder / "m.onnx", {"a": (batch, 3), "b": (batch, 3)})
    two.atc()
    two.bench(f"--model m.om --input a,b {INTO} --outfmt NPY")
    two.sees("ais_bench.last_batch_is_filled_up", answers(two, NAMES), TOTALS)


def test_dtypes_of_files_are_not_looked_at(two):
    """An int32 file of twice the length passes as int64: only bytes count."""
    samples(two.folder / "a", 11, (1, 6), "int32")
    two.bench(f"--model m.om --input a,b {INTO}", "ais_bench.only_bytes_count")


def test_pure_inference(two):
    done = two.bench("--model=./m.om --loop=5 --debug 1 --warmup_count 2 --output out --output_dirname d")
    text = done.stdout + done.stderr
    two.sees("ais_bench.counts_executions", len(re.findall(r"\[DEBUG\] model aclExec cost : [0-9.]+$", text, re.M)), 7)
    two.sees("ais_bench.loop_line", "loop inference exec: (5/5)" in text, True)
    two.sees("ais_bench.pure_output_name", [path.name for path in (two.folder / "out/d").iterdir()],
             ["pure_infer_data_0.bin"])
    summary = json.loads((two.folder / "out/d_summary.json").read_text())
    two.sees("ais_bench.warm_up_is_not_counted", summary["NPU_compute_time"]["count"], 5)


def test_all_summary_and_given_batch_size(two):
    done = two.bench("--model m.om --display_all_summary true --batchsize 7 --pure_data_type random")
    text = done.stdout + done.stderr
    two.sees("ais_bench.all_summary", re.findall(rf"(\w+) \(ms\): {TIMES}$", text, re.M),
             ["H2D_latency", "NPU_compute_time", "D2H_latency"])
    two.sees("ais_bench.given_batch_size", THROUGHPUT.search(text)[1], "7")


@pytest.mark.parametrize("flag", ["--threads 2", "--pipeline true"], ids=["threads", "pipeline"])
def test_intervals(two, flag):
    two.bench(f"--model m.om --input a,b {INTO} {flag}", f"ais_bench.{flag.split()[0].strip('-')}")
    summary = json.loads((two.folder / "out/d_summary.json").read_text())
    two.sees("ais_bench.intervals",
             [sorted(summary["NPU_compute_time"]), isinstance(summary["npu_compute_time_list"][0], list)],
             [["count", "mean"], True])


@pytest.mark.parametrize("mode", ["files", "tensor", "full"])
def test_run_modes(two, mode):
    two.bench(f"--model m.om --input a,b {INTO} --run_mode {mode}", "ais_bench.run_modes")
    two.sees("ais_bench.run_modes", len(list((two.folder / "out/d").iterdir())), 11)


@pytest.fixture
def gears(case):
    """m.om in the dims gears 3 and 5; three samples of length 3 for each of its inputs."""
    summing(case.folder / "m.onnx", {"a": (2, "l"), "b": (2, "l")})
    case.atc('--input_shape="a:2,-1;b:2,-1" --dynamic_dims="3,3;5,5"')
    for name in "ab":
        samples(case.folder / name, 3, (1, 3))
    return case


def test_a_gear_has_to_be_chosen(gears):
    done = gears.run("python3 -m ais_bench --model m.om")
    gears.sees("ais_bench.gear_has_to_be_chosen", done.returncode, 1)
    gears.sees("ais_bench.gear_words", done.stdout + done.stderr,
               re.compile(r"check failed dym gearcount:2 but dymtype:0 not set"))


def test_dims_gear(gears):
    gears.bench(f"--model m.om --input a,b --dymDims 'a:2,3;b:2,3' {INTO} --outfmt NPY", "ais_bench.dymDims")
    gears.sees("ais_bench.dymDims", answers(gears, NAMES[:3]), [0.0, 11.0, 22.0])
    gears.sees("ais_bench.other_gears_are_refused",
               gears.run("python3 -m ais_bench --model m.om --dymDims 'a:2,4;b:2,4'").returncode, 1)


def test_batch_gear(two):
    summing(two.folder / "m.onnx", {"a": ("n", 3), "b": ("n", 3)})
    two.atc('--input_shape="a:-1,3;b:-1,3" --dynamic_batch_size=2,8')
    done = two.run("python3 -m ais_bench --model m.om --input a,b")
    two.sees("ais_bench.batch_has_to_be_chosen", f"{done.returncode} {done.stdout}{done.stderr}",
             re.compile(r"(?s)^1 .*dynamic batch om model detected, but dymbatch, dymdims or dymshape not set!"))
    two.bench(f"--model m.om --input a,b --dymBatch 8 {INTO} --outfmt NPY", "ais_bench.dymBatch")
    two.sees("ais_bench.dymBatch", answers(two, NAMES), TOTALS)


def test_automatic_gears(case):
    """One file a run, in the gear of its shape: what inference in gears stands on."""
    summing(case.folder / "m.onnx", {"a": ("n", "l"), "b": ("n", "l")})
    case.atc('--input_shape="a:-1,-1;b:-1,-1" --dynamic_dims="1,3,1,3;2,5,2,5"')
    for name in "ab":
        samples(case.folder / name, 1, (1, 3), name="short.npy")
        samples(case.folder / name, 1, (2, 5), name="wide.npy")
    done = case.bench(f"--model m.om --input a,b --auto_set_dymdims_mode 1 {INTO} --outfmt NPY",
                      "ais_bench.automatic_gears")
    case.sees("ais_bench.automatic_gears",
              [list(np.load(case.folder / f"out/d/{name}_0.npy").shape) for name in ("short", "wide")],
              [[1, 3], [2, 5]])
    case.sees("ais_bench.mean_batch_size", THROUGHPUT.search(done.stdout + done.stderr)[1], "1.5")
    summary = json.loads((case.folder / "out/d_summary.json").read_text())
    case.sees("ais_bench.times_in_file_order",
              [len(summary["npu_compute_time_list"]), Path(summary["filesinfo"]["0"]["infiles"][0]).name],
              [2, "short.npy"])


def test_a_shorter_gear_is_not_slower(case):
    """The choice of gears stands on it. Of each gear the fastest of 10 executions; 1.5 times is no noise."""
    weight = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32) / 32
    nodes = [("MatMul", f"{'x' if i == 0 else f'h{i}'} w", f"h{i + 1}") for i in range(3)] + [("MatMul", "h3 w", "y")]
    save(case.folder / "m.onnx", nodes, {"x": (FLOAT, ["l", 512])}, {"y": (FLOAT, ["l", 512])}, {"w": weight})
    case.atc('--input_shape="x:-1,512" --dynamic_dims="48;192;768"')
    times = {}
    for length in (48, 192, 768):
        case.bench(f"--model m.om --dymDims x:{length},512 --loop 10 --output out --output_dirname l{length}")
        times[length] = json.loads((case.folder / f"out/l{length}_summary.json").read_text())["NPU_compute_time"]["min"]
    slower = [f"gear {short} is slower than gear {long}" for short, long in itertools.combinations(times, 2)
              if times[short] > 1.5 * times[long]]
    case.sees("gears.cost_rises", "; ".join(slower) or "no", "no")


def test_several_devices(two):
    done = two.bench(f"--model m.om --input a,b {INTO} --device 0,0 --outfmt NPY", "ais_bench.several_devices")
    two.sees("ais_bench.several_devices_lines", done.stdout + done.stderr,
             re.compile(r"multidevice run end qsize:4 result:[01]"))
    two.sees("ais_bench.several_devices_folders",
             sorted(path.name for path in (two.folder / "out/d").iterdir() if path.is_dir()),
             ["device0_0", "device0_1"])


@pytest.mark.parametrize("flags", [
    "", "--model none.om", "--model m.onnx", "--model m.om --loop 0", "--model m.om --loop 100001",
    "--model m.om --debug maybe",
    "--model m.om --outfmt CSV", "--model m.om --device 256", "--model m.om --device a", "--model m.om --threads 65",
    "--model m.om --batchsize 4097", "--model m.om --output_batchsize_axis 9",
    "--model m.om --output o --output_dirname /abs",
    "--model m.om --npu_id 65536", "--model m.om --outputSize 1,x", "--model m.om --dymShape a:1,2,3,4,5,6,7,8",
    "--model m.om --dymDims a:2,x", "--model m.om --unknown 1"],
                         ids=lambda flags: "_".join(flags.split()[2:] or flags.split()) or "none")
def test_bad_value(two, flags):
    two.sees("ais_bench.bad_values_exit_2", two.run(f"python3 -m ais_bench {flags}").returncode, 2)


@pytest.mark.parametrize("flags", [
    "--output_dirname d", "--input a", "--input a,none", "--input a,empty", "--input a,few", "--input wide,b",
    "--input a,wide",
    "--input a,broken", "--device 99", "--dymBatch 2", "--input a,b --output o --output_batchsize_axis 1"],
    ids=lambda flags: "_".join(flags.replace("--", "").split()))
def test_failure(two, flags):
    (two.folder / "empty").mkdir()
    samples(two.folder / "few", 2, (1, 3))
    samples(two.folder / "wide", 11, (1, 7))
    samples(two.folder / "broken", 11, (1, 3))
    (two.folder / "broken/data_3.npy").write_bytes(b"\x93NUMPY")
    done = two.run(f"python3 -m ais_bench --model m.om {flags}")
    two.sees("ais_bench.failures_exit_1", done.returncode, 1)
    if flags == "--device 99":
        two.sees("ais_bench.device_words", done.stdout + done.stderr, re.compile(r"acl open device 99 failed"))
        two.sees("ais_bench.device_code", done.stdout + done.stderr, re.compile(r"107001|507033"))
    if flags == "--input wide,b":
        two.sees("ais_bench.size_words", done.stdout + done.stderr,
                 re.compile(r"arg0 tensorsize: ?96 filesize: ?56 not match"))


def test_model_of_another_chip(two):
    two.do("atc.compiles_for_other_chips", "atc --framework=5 --model=m.onnx --output=other --soc_version=Ascend310P1")
    done = two.run("python3 -m ais_bench --model other.om")
    two.sees("acl.refuses_other_chips", f"{done.returncode} {done.stdout}{done.stderr}",
             re.compile(r"(?s)^1 .*ModelCheckCompatibility failed, supported socVersion=\w+, but the model socVersion=Ascend310P1"))


BERT, BILSTM = {"input_ids": (1, 128), "attention_mask": (1, 128)}, {"ids": (1, 50), "mask": (1, 50)}
ORIGINALS = {  # the commands as written there; bs is set as their READMEs do
    "bert": ("bert_base_sst2_bs1", BERT, INT64, ["data_bin/input_ids/{}.bin", "data_bin/attention_mask/{}.bin"], """
      python3 -m ais_bench \\
               --model ./bert_base_sst2_bs${bs}.om \\
               --input ./data_bin/input_ids,./data_bin/attention_mask \\
               --output ./data_bin/ \\
               --output_dirname output
     """, ["data_bin/output/0_0.bin", "data_bin/output_summary.json"]),
    "bert_pure": ("bert_base_sst2_bs1", BERT, INT64, [], """
      python3 -m ais_bench --model=./bert_base_sst2_bs${bs}.om --loop=100
     """, []),
    "bilstm": ("inference/bilstm_bs1", BILSTM, INT64,
               ["inference/prep_data/inputs/input_ids/{}.npy", "inference/prep_data/inputs/input_mask/{}.npy"], """
    python -m ais_bench \\
        --model ./inference/bilstm_bs${bs}.om \\
        --input inference/prep_data/inputs/input_ids,inference/prep_data/inputs/input_mask \\
        --output ./inference/ \\
        --output_dirname results_bs${bs} \\
        --outfmt NPY
     """, ["inference/results_bs1/0_0.npy", "inference/results_bs1_summary.json"]),
    "bilstm_pure": ("inference/bilstm_bs1", BILSTM, INT64, [], """
    python -m ais_bench --model ./inference/bilstm_bs${bs}.om --loop 100
     """, []),
    "elmo": ("elmo_sim", {"input": (1, 8, 50)}, INT32, ["bin_path/{}.bin"], """
       python3 -m ais_bench --model ./elmo_sim.om --input ./bin_path --output ./om_out
     """, ["om_out/*/0_0.bin"]),
}


@pytest.mark.parametrize("original", ORIGINALS)
def test_command_of_the_original(case, original):
    om, inputs, kind, files, command, made = ORIGINALS[original]
    summing(case.folder / "m.onnx", inputs, kind)
    case.atc()
    (case.folder / om).parent.mkdir(exist_ok=True)
    (case.folder / "m.om").rename(case.folder / f"{om}.om")
    for file, shape in zip(files, inputs.values()):
        samples(case.folder / Path(file).parent, 3, shape, "int32" if kind == INT32 else "int64", Path(file).name)
    done = case.do("ais_bench.originals", f"bs=1\n{command}")
    case.sees("ais_bench.originals", bool(THROUGHPUT.search(done.stdout + done.stderr)), True)
    case.sees("ais_bench.originals_leave", [pattern for pattern in made if not list(case.folder.glob(pattern))], [])
