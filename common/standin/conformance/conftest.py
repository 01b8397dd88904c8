"""Conformance: what the tools of this machine do, held beside what is known of them.

    pytest -c common/pyproject.toml --rootdir . common/standin/conformance --results FILE [--recorded FOLDER] [--soc NAME]

Nothing here knows whose tools they are: commands are found on PATH, modules by the python3 on PATH; cases.py is at work.
--recorded is a folder of what chips were seen to do (`make facts`).
"""
import importlib.util
import json
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # cases.py, graphs.py
from cases import Book, Case, Differs, Fact, describe  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--results", type=Path, help="conformance: write a JSON line for each observation")
    parser.addoption("--recorded", type=Path, help="conformance: a folder of facts that chips have shown")
    parser.addoption("--soc", default="Ascend310P3", help="conformance: what atc compiles for")


def pytest_configure(config):
    config.addinivalue_line("markers", "device: opens an NPU")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a case ends what it has started
    results = config.getoption("--results")
    if results and not hasattr(config, "workerinput"):  # of several processes each adds its lines
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text("", encoding="utf-8")


def pytest_ignore_collect(collection_path, config):
    """The cases are about the tools of this machine, so they run only where they are asked for by name."""
    return None if any(HERE.name in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def book(request):
    folder, results = request.config.getoption("--recorded"), request.config.getoption("--results")
    return Book(known(), [recorded(file) for file in sorted(folder.glob("*.json"))] if folder else [], results)


def known() -> dict[str, Fact]:
    """Return facts.toml by <tool>.<name>."""
    tools = tomllib.loads((HERE / "facts.toml").read_text(encoding="utf-8"))
    other = tools.pop("other")
    return {name: Fact(*fact, other.get(name, {})) for tool, facts in tools.items()
            for name, fact in ((f"{tool}.{word}", fact) for word, fact in facts.items())}


def recorded(path: Path) -> dict[tuple, dict]:
    """Return what a chip was seen to do, by case, fact and which time of these."""
    observations = json.loads(path.read_text(encoding="utf-8"))["observations"]
    return {(seen["case"], seen["fact"], seen["time"]): seen for seen in observations}


@pytest.fixture
def case(request, tmp_path, book):
    """The case at hand; one whose tool (TOOL of its file) is not there is not told, test_tools.py says so once."""
    tool = getattr(request.module, "TOOL", None)
    if tool and shutil.which(tool) is None and not (tool.isidentifier() and importlib.util.find_spec(tool)):
        pytest.skip(f"there is no {tool}")
    name = f"{request.path.stem.removeprefix('test_')}/{request.node.name.removeprefix('test_')}"
    request.node.case = Case(name, tmp_path, book, request.config.getoption("--soc"))
    return request.node.case


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A case fails with the list of its differences; where only a recorded chip differs it is expected to fail."""
    report = yield
    case = getattr(item, "case", None)
    if case is None or call.when != "call" or report.outcome == "skipped":
        return report
    if call.excinfo and not call.excinfo.errisinstance(Differs):  # a tool left what the case cannot read
        case.sees("harness.reads", f"{call.excinfo.typename}: {call.excinfo.value}", "what the tools left")
    if case.differences:
        report.outcome, report.longrepr = "failed", "\n".join(map(describe, case.differences))
    elif case.known:
        report.outcome, report.wasxfail = "skipped", "; ".join(case.known)
    return report
