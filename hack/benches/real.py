"""A real operator process, and what the measurements of it share."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.operator_process import OperatorProcess

MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {{name: {name}}}
spec: {{nodes: {nodes}, provider: local, connection: {connection}}}
"""


@contextmanager
def real_operator() -> Iterator[OperatorProcess]:
    """Started, and cleaned up whatever happens; its directory stays for a look where something went wrong."""
    operator = OperatorProcess(Path(tempfile.mkdtemp(prefix="skyward-bench-")))
    try:
        operator.start()
        yield operator
    finally:
        operator.clean_up()
    shutil.rmtree(operator.directory)


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
