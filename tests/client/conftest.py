import pytest
import stamina


@pytest.fixture
def _no_pauses():
    """Retry as often as in production, without the pauses."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)
