"""Where tests count as running from."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _main_has_a_file() -> Iterator[None]:
    """A worker of pytest-xdist has a `__main__` without a file, as an interactive session has: this checkout would count as the
    user's own modules, and tests that run functions in this very process would be sent by value with all they hold."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) is not None:
        yield
        return
    main.__file__ = pytest.__file__
    yield
    del main.__file__
