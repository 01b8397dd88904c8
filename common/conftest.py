"""Every test of the library and the stand-in is long or not as common/tests/suite.py says."""
from suite import pytest_runtest_setup  # noqa: F401
