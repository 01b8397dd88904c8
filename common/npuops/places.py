"""Where results lie: out/<chip>/<profile>/<model>/bs<N>, as common/model.mk names it."""
from pathlib import Path

from npukit.judge.provenance import chip


def run_folder(out: Path, soc: str, standin: bool, profile: str, model: str, batch_size: int) -> Path:
    """Return the folder of one run."""
    return out / chip(soc, standin) / profile / model / f"bs{batch_size}"


def report_file(run: Path) -> Path:
    """Return where a run's report lies, or is going to."""
    return run / "postprocess" / "report.json"


def reports(out: Path) -> list[Path]:
    """Return the report of every run below out/."""
    return sorted(out.glob("*/*/*/bs*/postprocess/report.json"))
