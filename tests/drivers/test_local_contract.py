from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from skyward.contracts import Driver
from tests.contracts.driver_suite import DriverSuite
from tests.drivers.rooms import local_driver


class TestLocalDriver(DriverSuite):
    """Real directories, real processes, real SSH servers."""

    def open(self, directory: Path) -> AbstractAsyncContextManager[Driver]:
        return local_driver(directory)
