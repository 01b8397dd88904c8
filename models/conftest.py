"""Each model's tests see that model's own modules, whatever the modules of other models are called; suite.py says what is long."""
import sys
from pathlib import Path

import pytest
from suite import pytest_runtest_setup  # noqa: F401

MODELS = Path(__file__).parent
kept: dict[str, dict] = {}  # the modules of each model, while another's tests run
here = ""  # the model whose tests run


def enter(path: Path) -> None:
    """Put the folder of a test's model first on sys.path, with the modules that were imported from there and no other model's."""
    global here
    model = path.relative_to(MODELS).parts[0]
    if model == here:
        return
    own = {name: module for name, module in sys.modules.items()
           if (file := getattr(module, "__file__", None)) and Path(file).parent.parent == MODELS and "." not in name}
    kept[here], here = own, model
    for name in own:
        del sys.modules[name]
    sys.modules.update(kept.get(model, {}))
    sys.path[:] = [str(MODELS / model), *(place for place in sys.path if Path(place).parent != MODELS)]


def pytest_collectstart(collector):
    if isinstance(collector, pytest.Module) and collector.path.is_relative_to(MODELS):
        enter(collector.path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    if item.path.is_relative_to(MODELS):
        enter(item.path)
