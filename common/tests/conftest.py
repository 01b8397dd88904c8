"""What several tests are given."""
import shutil
import subprocess

import pytest
from runs import make_run  # noqa: F401
from suite import pytest_runtest_setup  # noqa: F401


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here, to make a small disk")
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk is root's to make: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
