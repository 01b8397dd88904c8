"""What the tests of graph surgery share: small BERTs, exported once a run."""
import pytest
from small_berts import Berts


@pytest.fixture(scope="session")
def berts(tmp_path_factory):
    return Berts(tmp_path_factory.mktemp("berts"))
