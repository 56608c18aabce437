import pytest


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Where archives of Java's classes are kept: the first test that needs one makes it, the others are quick by it."""
    return tmp_path_factory.mktemp("archives")
