"""What the tests of null distributions share."""

import pytest

from isojepa.normality import null


@pytest.fixture
def _empty_memory():
    null._in_memory.clear()
