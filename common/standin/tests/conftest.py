"""The commands of the stand-in, called as a user calls them: found on PATH, in the test's own working directory."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from suite import pytest_runtest_setup  # noqa: F401

STANDIN = Path(__file__).resolve().parent.parent
# The library, through which tests read oms back, the helpers beside this file, and graphs.py.
sys.path[:0] = [str(STANDIN), str(STANDIN / "tests"), str(STANDIN / "conformance")]
# Under --import-mode=importlib pytest has taken the folder common/standin for the package of that name.
sys.modules.pop("standin", None)
import standin  # noqa: E402, F401


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a bash command line in `tmp_path` and returns its CompletedProcess (text)."""
    path = os.pathsep.join([str(STANDIN / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    python_path = os.pathsep.join(filter(None, [str(STANDIN), os.environ.get("PYTHONPATH")]))

    def run_command(command: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              check=False, env={**os.environ, "PATH": path, "PYTHONPATH": python_path, **environment})

    return run_command
