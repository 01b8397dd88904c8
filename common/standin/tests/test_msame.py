"""msame as a user calls it."""

import pytest
from omfiles import write_samples, write_sum


@pytest.fixture
def model(tmp_path):
    return write_sum(tmp_path / "x.om", {"a": (1, 3), "b": (1, 3)})


@pytest.mark.parametrize(("flags", "line"), [
    ("--input in/0.bin,nothing.bin", "open file nothing.bin failed"),
    ("--input in/0.bin", "has 2 inputs, 1 were given"),
    ("--input nothing,in", "no directory"), ("--profiler true", "profiler"), ("--dymBatch 2", "dynamic_batch"),
    ("--dymBatch 2 --dymDims a:1,3;b:1,3", "cannot be set at the same time"), ("--dymShape a:1", "needs --input"),
])
def test_failures_exit_1(run, model, tmp_path, flags, line):
    write_samples(tmp_path / "in", 1, (1, 3), name="{}.bin")
    done = run(f"msame --model x.om --output out {flags.replace(';', chr(92) + ';')}")
    assert done.returncode == 1 and line in done.stderr.splitlines()[-1]
    assert "[ERROR] Sample process failed" in done.stdout and "Traceback" not in done.stderr


def test_a_copy_works_where_the_package_is_importable(run, model):
    done = run("cp $(command -v msame) here; ./here --model x.om --output out")
    assert done.returncode == 0
