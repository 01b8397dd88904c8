"""What every bench.py shares: recorded stages run again where the inputs are the new ones, ratios judged, answers compared."""
import json

import numpy as np
import pytest

from npukit.errors import JobFailed
from npukit.files import write_json
from npukit.judge import bench


@pytest.fixture
def run(tmp_path):
    """A run's folder whose recorded commands write a number and read it again."""
    folder = tmp_path / "out" / "bs8"
    inputs = folder.parent / "inputs"
    summary = json.dumps({"npu_compute_time_list": [1500.0, 500.0]})
    for place, command in {inputs: "cp --no-clobber /etc/hostname --target-directory .",
                           folder / "infer": f"sh -c 'cp {inputs}/hostname outputs; echo $1 >outputs_summary.json' sh '{summary}'"}.items():
        write_json(place / "record.json", {"command": command})
    return folder


def test_the_stages_run_again_on_new_inputs(run):
    seconds, answer = bench.again(run, lambda infer: (infer / "outputs").read_text())
    with open("/etc/hostname") as file:
        assert answer == file.read() and not (run.parent / "inputs" / "hostname").exists()
    assert seconds["device"] == 2.0 and 0 < seconds["preprocess"] < 10 and 0 < seconds["infer"] < 10
    assert bench.recorded(run, "../inputs", "--target-directory") == "."


def test_a_stage_that_fails_is_told_in_a_sentence(run, tmp_path):
    write_json(run / "infer" / "record.json", {"command": "sh -c 'echo first; echo the board is cold >&2; exit 3'"})
    with pytest.raises(JobFailed, match=r"^sh -c .*: exit 3, the board is cold$"):
        bench.again(run, lambda infer: infer)
    with pytest.raises(JobFailed, match="exit 1, without a word"):
        bench.call(["false"], tmp_path)


@pytest.mark.parametrize("at_least, reason", [
    ({"fixed": 3.0}, None), ({"fixed": 4.0, "pipeline": 1.4}, None),
    ({"fixed": 4.1, "pipeline": 1.4}, "gears reach only 4.00 times fixed (at least 4.1 are due)"),
    ({"fixed": 5, "pipeline": 2}, "gears reach only 4.00 times fixed (at least 5 are due) and 1.50 times pipeline (at least 2 are due)")])
def test_ratios_are_judged(capsys, at_least, reason):
    def judge():
        bench.judge({"fixed": 8.0, "gears": 2.0, "pipeline": 3.0}, "gears", at_least, 16)

    if reason is None:
        judge()
    else:
        with pytest.raises(JobFailed) as caught:
            judge()
        assert str(caught.value) == reason
    assert capsys.readouterr().out.splitlines()[0].split() == "fixed 2.00 sentences/s 4.00 times as long as gears".split()


def test_other_answers_are_no_speed():
    reference = np.array([[10.0, -3.0]])
    bench.require_same("gears", reference + 0.009, reference)
    for answers in (reference + 0.011, reference * np.nan):
        with pytest.raises(JobFailed, match=r"gears answers otherwise: .* of the largest apart"):
            bench.require_same("gears", answers, reference)
