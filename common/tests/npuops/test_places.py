"""Where results lie is said once, and make says the same."""
import subprocess
from pathlib import Path

import pytest

from npuops import places

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("soc, standin, chip",
                         [("cpu", "", "cpu"), ("cpu", "1", "cpu"), ("Ascend310P3", "1", "Ascend310P3-standin")])
def test_make_and_python_agree(tmp_path, soc, standin, chip):
    show = ["make", "-C", ROOT / "models" / "bilstm_crf", f"SOC={soc}", f"STANDIN={standin}", f"OUT_ROOT={tmp_path}",
            "show"]
    shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    folder = places.run_folder(tmp_path, soc, bool(standin), "tiny", "bilstm_crf", 8)
    assert folder == tmp_path / chip / "tiny" / "bilstm_crf" / "bs8" and f" {folder.parent}\n" in shown


def test_reports_are_found(tmp_path):
    path = places.report_file(places.run_folder(tmp_path, "cpu", False, "tiny", "elmo", 1))
    path.parent.mkdir(parents=True)
    path.touch()
    assert places.reports(tmp_path) == [path]
