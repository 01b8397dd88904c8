"""Every script ends in one of the house's exit codes, with one line on stderr."""
import re
import signal
import subprocess
import sys

import pytest
from scripts import environment

ENDS = {  # what main() does: (exit code, what stderr says)
    "return": (0, ""),
    "raise errors.UserError('no such flag')": (2, "job.py: no such flag\n"),
    "raise errors.BadSample(Path('in/a.json'), 3, 'the text is empty')": (2,
                                                                          "job.py: in/a.json:3: the text is empty\n"),
    "raise errors.JobFailed('a bar was missed')": (1, "job.py: a bar was missed\n"),
    "raise errors.Unavailable('device 0 is busy')": (75, "job.py: device 0 is busy\n"),
    "open('nowhere/a.txt')": (2, "job.py: nowhere/a.txt: No such file or directory\n"),
    "raise KeyboardInterrupt": (128 + signal.SIGINT, ""),
    "command.parser('help').parse_args(['--no'])": (2, "unrecognized arguments: --no"),
    "1 / 0": (1, "ZeroDivisionError"),  # a traceback is a bug of ours, and is shown
}


@pytest.mark.parametrize("body", ENDS)
def test_exit_codes(tmp_path, body):
    script = tmp_path / "job.py"
    script.write_text("from pathlib import Path\nfrom npukit import command, errors\n"
                      f"def main():\n    {body}\ncommand.run(main)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, env=environment())
    code, said = ENDS[body]
    assert done.returncode == code
    assert said in done.stderr and (done.stderr == said or not said.startswith("job.py"))
    assert ("Traceback" in done.stderr) == (body == "1 / 0")


@pytest.mark.parametrize("arguments, answer", [
    ((), "usage: npuops"), (("dance",), "invalid choice: 'dance'"), (("stage",), "--into"),
    (("why",), "the following arguments"),
    (("fetch", "--data", "d", "no.toml"), "no.toml: No such file or directory"),
    (("results", "out", "--judge", "no/report.json"), "no/report.json is not there")])
def test_verbs_answer_a_wrong_call_in_a_sentence(tmp_path, arguments, answer):
    done = subprocess.run([sys.executable, "-m", "npuops", *arguments], capture_output=True, text=True, cwd=tmp_path,
                          env=environment())
    assert done.returncode == 2 and answer in done.stderr and "Traceback" not in done.stderr


def test_progress_says_nothing_where_there_is_no_terminal(capfd):
    from npukit.command import progress

    assert list(progress(range(3), "counting")) == [0, 1, 2]
    assert not re.search("counting", capfd.readouterr().err)
