"""Stages know no network: they run in a namespace of the kernel's that has no interface. .ci/run runs every model's there."""
import os
import subprocess
import sys

import pytest
from suite import lacks
from toytree import STAGES, Tree, folders, ran

ALONE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


@pytest.fixture(autouse=True)
def namespaces():
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    if done.returncode:
        message = f"this machine gives no network namespace: {done.stderr.strip()}"
        lacks(message)


def test_nothing_can_be_reached_there():
    """What makes the next test worth something: there, even this machine does not answer."""
    reach = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 5)"
    assert subprocess.run([sys.executable, "-c", reach]).returncode == 0
    assert "Network is unreachable" in subprocess.run([*ALONE, sys.executable, "-c", reach], capture_output=True,
                                                      text=True).stderr


@pytest.mark.long
def test_every_stage_runs_to_the_end_without_a_network(tmp_path):
    tree = Tree(tmp_path / "checkout")
    tree.plant()
    done = subprocess.run([*ALONE, *tree.command("MODEL=toy toy2", "all")], cwd=tree.root, env=tree.environment(),
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done.stdout) >= folders(STAGES, "toy")
