"""Read by a pytest that is pointed at the rules directly; a run of the suite reads no conftest."""

import pytest


def pytest_configure() -> None:
    """Say how the rules are run.

    :raises pytest.UsageError: always.
    """
    raise pytest.UsageError(
        "these are the rules that drivers are tested against, which need one:"
        " thalweg-conformance run --driver NAME"
    )
