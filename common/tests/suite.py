"""What is long: `make test` has to be over in five minutes on two cores, `make test-all` runs everything.

A test marked `long` is one of these: it runs a whole pipeline that another test of the quick ones runs in another setting, or
it trains, benches, or runs a README's commands. Nothing else may be marked so.
"""
import os
import signal

import pytest

# Tests send signals. In the background, as under nohup, these are ignored, and what a test starts would inherit that.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

ALL = "NPUKIT_TEST_ALL" in os.environ


def lacks(message: str) -> None:
    """Skip a test for what is not here; where everything has to be here, as in .ci/run, fail it."""
    pytest.fail(message) if os.environ.get("NPUKIT_REQUIRE_ALL") else pytest.skip(message)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.get_closest_marker("long") and not ALL:
        pytest.skip("it takes long; `make test-all` runs it")
