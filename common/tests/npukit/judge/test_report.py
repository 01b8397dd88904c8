"""Reports: one is made from a run's folders, checked against its schema, judged, shown."""
import argparse
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from runs import ATC, FIDELITY, METRICS, ORIGINAL, SUMMARY, report_of, written
from scripts import environment

from npukit.errors import UserError
from npukit.files import read_json, write_json
from npukit.judge import report, table
from npukit.judge.report import Run, disagreements, read, write
from npukit.judge.table import ledger, results, row
from npukit.nets import fusions


def test_a_report_follows_the_schema_and_says_where_it_comes_from(make_run):
    made = written(make_run())
    schema = json.loads(report.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(made, schema)
    assert made["passes"] and made["standin"] and made["precision"] == "fp32"
    assert (made["model"], made["profile"], made["soc"], made["batch_size"]) == ("toy", "tiny", "cpu", 8)
    assert [entry["stage"] for entry in made["ledger"]] == ["torch", "onnx", "om"]
    assert made["performance"]["device_per_s"] == pytest.approx(20 / 0.006) and made["performance"]["end_to_end_per_s"] == 40
    assert made["performance"]["pure_inference"]["samples_per_s"] == 4000
    assert made["predictions_sha256"] == hashlib.sha256(b"[]\n").hexdigest()
    assert made["provenance"]["inputs"]["om"] == hashlib.sha256(b"om").hexdigest()
    assert made["provenance"]["commands"]["atc"] == ATC
    assert made["provenance"]["started"] == "2024-05-01T12:00:00+00:00"
    assert made["provenance"]["host"]["cpus_granted"] == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("chip, told", [("Ascend310P3-standin", True), ("cpu", False)])
def test_what_atc_fuses_is_told_of_a_chip_where_surgery_was_for_it(make_run, chip, told):
    folder = make_run(chip)
    assert "fusions" not in report_of(folder)
    rows = [fusions.row(fusions.Attention(12, 64), 8, length) for length in (48, 64)]
    write_json(folder / "modify_onnx" / "fusions.json", rows)
    made = written(folder)
    assert made.get("fusions") == (rows if told else None)
    assert not told or [row["fused"]["AttentionScore"] for row in made["fusions"]] == [False, True]


def delete(*path):
    def change(made):
        for key in path[:-1]:
            made = made[key]
        del made[path[-1]]
    return change


def assign(value, *path):
    def change(made):
        for key in path[:-1]:
            made = made[key]
        made[path[-1]] = value
    return change


VIOLATIONS = {
    "another schema": assign(2, "schema"),
    "unknown profile": assign("huge", "profile"),
    "a stand-in's soc": assign("cpu-standin", "soc"),
    "no key": delete("weights"),
    "one key more": assign(1, "note"),
    "no fidelity": assign(None, "fidelity"),
    "no gates": assign([], "gates"),
    "no digest": assign("abc", "predictions_sha256"),
    "batch size 0": assign(0, "batch_size"),
    "no samples": assign(0, "samples"),
    "agreement of 2": assign(2, "fidelity", "argmax_agreement"),
    "a gate with words": assign("yes", "gates", 0, "passes"),
    "no latency": delete("performance", "latency_ms", "p99"),
    "rate 0": assign(0, "performance", "device_per_s"),
    "an original without a rate": delete("original", "rows", 0, "throughput_per_s"),
    "unknown kind": assign("borrowed", "weights", "kind"),
    "no manifest digest": delete("provenance", "inputs", "manifest"),
    "no lengths": assign([], "seq_lens"),
    "a ledger without metrics": delete("ledger", 0, "metrics"),
    "another arithmetic": assign("int8", "precision"),
    "more unknown than there is": assign(1.1, "corpus", "unknown_share"),
    "an unknown share in words": assign("much", "corpus", "unknown_share"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_report_against_the_schema_is_not_written(make_run, violation):
    folder = make_run()
    made = copy.deepcopy(report_of(folder))
    VIOLATIONS[violation](made)
    with pytest.raises(UserError, match=r"report\.json does not follow report\.schema\.json: \$"):
        write(folder / "postprocess" / "report.json", made)
    assert not (folder / "postprocess" / "report.json").exists()


@pytest.mark.parametrize("predictions", [["A", [1, 2]], None])
def test_a_script_finishes_with_one_call(make_run, predictions):
    """Answers are judged against reference.npy; what they say goes beside the report, or is a file of the script's own."""
    folder = make_run()
    path, own = folder / "postprocess" / "report.json", folder / "own.json"
    answers = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    np.save(folder.parent / "pth2onnx" / "reference.npy", answers + np.float32(1e-6))
    write_json(folder / "original.json", ORIGINAL)
    own.write_text("{}")
    parser = argparse.ArgumentParser()
    report.add_options(parser, str(folder / "postprocess.py"))
    task = report.Task(lambda logits: (logits, np.arange(2)), lambda logits: METRICS)
    args = parser.parse_args(["--report", str(path), "--run", str(folder), "--loop", "7"])
    report.finish(args, task, answers, "f1", METRICS, predictions or own, [50])
    made, file = read_json(path), own if predictions is None else path.with_name("predictions.jsonl")
    assert made["passes"] and 0 < made["fidelity"]["max_abs"] < 2e-6 and made["original"] == ORIGINAL
    assert made["performance"]["pure_inference"]["loop"] == 7 and made["seq_lens"] == [50]
    assert made["predictions_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.read_text() == ("{}" if predictions is None else '"A"\n[1, 2]\n')


def test_passes_is_set_from_the_gates_alone(make_run):
    folder = make_run()
    made = report_of(folder, fidelity={**FIDELITY, "flips": 1})
    made["passes"] = True
    write(folder / "report.json", made)
    assert read_json(folder / "report.json")["passes"] is False


@pytest.mark.parametrize("chip, atc, precision", [
    ("cpu", ATC, "fp32"), ("Ascend310P3", ATC, "fp16"), ("Ascend310P3-standin", ATC, "fp16"),
    ("Ascend310P3", f"{ATC} --precision_mode=force_fp32", "fp32"),
    ("Ascend310P3", f"{ATC} --precision_mode_v2=origin", "fp32"),
    ("Ascend310P3", f"{ATC} --precision_mode must_keep_origin_dtype", "fp32"),
    ("Ascend310P3", f"{ATC} '--log=debug --precision_mode=origin'", "fp16"),
    ("Ascend310P3", f"{ATC} --precision_mode=origin_too", "fp16"),
    ("Ascend310P3", f"{ATC} --precision_mode=allow_mix_precision", "fp16")])
def test_precision_is_the_chips_unless_atc_was_told_otherwise(make_run, chip, atc, precision):
    assert Run(make_run(chip, atc=atc)).precision() == precision


@pytest.mark.parametrize("chip, by_standin, allowed", [
    ("cpu", True, True), ("Ascend310P3-standin", True, True), ("Ascend310P3", False, True),
    ("Ascend310P3", True, False), ("Ascend310P3-standin", False, False), ("cpu", False, False)])
def test_a_stand_ins_number_cannot_pass_for_a_chips(make_run, chip, by_standin, allowed):
    summary = SUMMARY if by_standin else {"npu_compute_time_list": [2.0] * 3}
    folder = make_run(chip, summary=summary)
    if allowed:
        made = written(folder)
        assert made["standin"] is by_standin and made["soc"] == chip.removesuffix("-standin")
        assert report.chip(made) == chip
    else:
        whose = "the stand-in" if by_standin else "the real tools"
        with pytest.raises(UserError, match=f"holds results of {whose}, which do not belong there"):
            report_of(folder)


@pytest.mark.parametrize("kind, passes", [("shipped", False), ("random", True)])
def test_task_metrics_of_random_weights_judge_nothing(make_run, kind, passes):
    made = written(make_run("Ascend310P3-standin", kind=kind), metrics={"f1": 0.1})
    assert made["passes"] is passes
    assert any("f1" in gate["name"] for gate in made["gates"]) == (kind == "shipped")


@pytest.mark.parametrize("metric, shown", [("f1", "n/a"), ("cosine_mean", "0.9999")])
def test_closeness_is_shown_whatever_the_weights(make_run, metric, shown):
    """Vectors, which decide nothing: agreement and flips are none, in the table and in the ledger."""
    vectors = {**FIDELITY, "argmax_agreement": None, "flips": None}
    made = {**written(make_run(kind="random"), fidelity=vectors, metrics={"f1": 0.9999}), "metric": metric}
    made["metrics"] = {metric: 0.9999}
    assert row(made)[5] == shown
    assert "flipped decisions" not in [gate["name"] for gate in made["gates"]]
    made["ledger"] = [{"stage": "om", "metrics": made["metrics"], "fidelity": vectors}]
    assert ledger(made).splitlines()[-1].split()[:2] == ["om", shown]


def test_what_a_run_is_comes_from_its_records_and_not_from_its_place(make_run, tmp_path):
    moved = shutil.move(make_run("Ascend310P3-standin", bs=4).parent, tmp_path / "elsewhere") / "bs4"
    made = written(moved.rename(moved.with_name("any")))
    assert (made["model"], made["soc"], made["standin"], made["profile"], made["batch_size"]) == ("toy", "Ascend310P3",
                                                                                                  True, "tiny", 4)


@pytest.mark.parametrize("place", [".", "..", "../inputs", "atc"])
def test_another_folder_is_no_run(make_run, place):
    folder = make_run()
    if place == ".":  # records as they were before they named the run
        for path in folder.glob("*/record.json"):
            write_json(path, {"command": "atc", "seconds": 1})
    with pytest.raises(UserError, match="is not the folder of a run; expected bs<N> with stages"):
        Run(folder / place)


@pytest.mark.parametrize("file", ["infer/outputs_summary.json", "infer/record.json", "atc/record.json", "perf/log.txt"])
def test_a_stage_that_has_not_run_is_named(make_run, file):
    folder = make_run()
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"{file} is not there"):
        report_of(folder)


@pytest.fixture
def two(make_run):
    """Reports of one model at two batch sizes."""
    return [written(make_run(bs=1)), written(make_run(bs=8))]


def test_equal_answers_agree(two):
    assert disagreements(two) == []


def test_answers_that_depend_on_the_batch_size_are_named(two):
    two[1]["predictions_sha256"] = "f" * 64
    [problem] = disagreements(two)
    assert problem == "toy on cpu, tiny: the answers at batch sizes [1] and [8] differ"


@pytest.mark.parametrize("change", [
    assign("other", "model"), assign("released", "profile"), assign("Ascend310P3", "soc"),
    assign("f" * 64, "weights", "sha256"),
    assign("f" * 64, "provenance", "inputs", "manifest")])
def test_answers_to_other_questions_may_differ(two, change):
    two[1]["predictions_sha256"] = "f" * 64
    change(two[1])
    assert disagreements(two) == []


def test_table(make_run):
    written(make_run(bs=8))
    written(make_run(bs=16), fidelity={**FIDELITY, "max_abs": None, "not_finite": 3})
    written(make_run("Ascend310P3-standin", bs=1))
    reports = read(sorted(make_run().parents[3].rglob("report.json")))
    heading, _, twin, eight, sixteen, *legend = results(reports).splitlines()
    assert heading.split()[:5] == ["model", "profile", "chip", "batch", "metric"]
    assert twin.split()[2] == "Ascend310P3-standin"
    assert eight.split() == ["toy", "tiny", "cpu", "8", "f1", "0.7000", "0.7000", "1.0e-06", "40.0", "4000.0", "479",
                             "pass"]
    assert "not finite" in sixteen and "n/a" in sixteen, "the original has no such batch size"
    assert sixteen.endswith("FAIL: values that are not finite, largest difference from PyTorch")
    assert "no NPU" in legend[0]


@pytest.mark.parametrize("parameters, profile, speed", [
    (1000, "tiny", 479), (1019, "released", 479), (981, "random", 479), (1021, "random", None),
    (979, "released", None)])
def test_the_original_s_speed_wants_a_network_of_its_size(make_run, parameters, profile, speed):
    """Whatever the profile is called: a checkpoint of one's own may be of any size."""
    assert table.original_speed(written(make_run(profile=profile, parameters=parameters))) == speed


@pytest.mark.parametrize("share, warned", [(None, False), (0.0, False), (0.05, False), (0.051, True), (1.0, True)])
def test_who_reads_only_the_table_sees_that_much_is_unknown(make_run, share, warned):
    folders = [make_run(bs=bs) for bs in (1, 8)]
    for folder in folders:
        manifest = read_json(folder.parent / "inputs" / "manifest.json")
        manifest["corpus"].pop("unknown_share", None)
        manifest["corpus"] |= {} if share is None else {"unknown_share": share}
        write_json(folder.parent / "inputs" / "manifest.json", manifest)
    reports = [written(folder) for folder in folders]
    assert all(made["passes"] and made["corpus"].get("unknown_share") == share for made in reports)
    found = [line for line in results(reports).splitlines() if "WARNING" in line]
    assert len(found) == warned, "one line for one text, whatever the batch sizes"
    if warned:
        assert found[0].startswith(f"WARNING: toy, tiny: {share:.1%} of the text is unknown to the vocabulary ([UNK])")


ROUTE = {"command": "run_trace.py", "backend": "a tool", "precision": "fp32", "samples_per_s": 1000.0,
         "metrics": METRICS,
         "fidelity": FIDELITY}


@pytest.mark.parametrize("change, failed", [
    ({}, []), ({"fidelity": None}, []), ({"fidelity": {**FIDELITY, "flips": 1}}, ["trace: flipped decisions"]),
    ({"fidelity": {**FIDELITY, "not_finite": 2, "max_abs": None}},
     ["trace: values that are not finite", "trace: largest difference from PyTorch"]),
    ({"precision": "fp16", "metrics": {"f1": 0.5}}, ["trace: f1 kept from PyTorch fp32"])])
def test_another_route_is_judged_and_shown_in_a_table_of_its_own(make_run, change, failed):
    made = written(make_run(), routes={"trace": {**ROUTE, **change}})
    assert [gate["name"] for gate in made["gates"] if not gate["passes"]] == failed and made["passes"] == (not failed)
    heading, _, line = results([made]).split("\n\n")[1].splitlines()
    assert heading.split() == "model profile chip batch om it/s trace it/s trace/om metric om trace trace ran as".split()
    precision, metrics = change.get("precision", "fp32"), change.get("metrics", METRICS)
    assert line.split() == ["toy", "tiny", "cpu", "8", "3333.3333", "1000.0000", "0.3000", "f1", "0.7000",
                            f"{metrics['f1']:.4f}",
                            f"{precision},", "a", "tool"]


def test_a_report_that_was_changed_by_hand_is_refused(make_run):
    folder = make_run()
    made = written(folder)
    made["standin"] = "no"
    write_json(folder / "postprocess" / "report.json", made)
    with pytest.raises(UserError, match=r"report\.json does not follow report\.schema\.json: \$\.standin"):
        read([folder / "postprocess" / "report.json"])


def judge(*paths):
    """Return (exit code, stdout, stderr) of `npuops results --judge`."""
    done = subprocess.run([sys.executable, "-m", "npuops", "results", "out", "--judge", *paths], capture_output=True,
                          text=True,
                          env=environment())
    return done.returncode, done.stdout, done.stderr


def test_judging_fails_on_a_missed_bar_and_on_disagreement(make_run):
    folder = make_run()
    other = copy.deepcopy(written(folder))
    other["gates"][0]["passes"], other["batch_size"], other["predictions_sha256"] = False, 16, "f" * 64
    write(folder / "other.json", other)
    good, bad = folder / "postprocess" / "report.json", folder / "other.json"
    assert judge(good)[0] == 0
    code, printed, reason = judge(good, bad)
    assert code == 1 and "toy" in printed, "the table comes all the same"
    assert reason.endswith("the answers at batch sizes [8] and [16] differ; toy at batch size 16 misses a bar\n")
