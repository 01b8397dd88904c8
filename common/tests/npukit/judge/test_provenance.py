"""Where numbers come from: the commit with and without git."""
import subprocess

import pytest

from npukit.judge import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own, that the module takes for the one it lies in."""
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    (tmp_path / "provenance.py").touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("NPUKIT_COMMIT", raising=False)

    def git(*arguments):
        somebody = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *somebody, *arguments], cwd=tmp_path, check=True, capture_output=True)

    return tmp_path, git


def test_commit(checkout):
    folder, git = checkout
    git("init")
    git("add", "provenance.py")
    git("commit", "-m", "first")
    head = provenance.commit()
    assert len(head) == 40
    (folder / "untracked").touch()
    assert provenance.commit() == head
    (folder / "provenance.py").write_text("changed")
    assert provenance.commit() == f"{head}+changes"


def test_without_git_the_image_says_it(checkout, monkeypatch):
    assert provenance.commit() is None
    monkeypatch.setenv("NPUKIT_COMMIT", "abc")
    assert provenance.commit() == "abc"
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == "abc"
