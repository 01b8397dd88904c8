"""What the tests of fetching share: a web server, and patience that is over soon."""
import pytest
from webserver import serving

from npuops.assets import download, sources


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def quick(monkeypatch, server, request):
    """Pauses and timeouts of moments, the module's TIMEOUT to connect and to read, and a server that has forgotten."""
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(sources, "TIMEOUT", request.module.TIMEOUT)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.asked.clear()
    server.answers.clear()
