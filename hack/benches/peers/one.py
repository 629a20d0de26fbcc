"""`python -m hack.benches.peers.one MODULE FIGURES`: one measurement in a process of its own; each figure is appended to the file
FIGURES as it is found, one JSON object a line. The directory of the measurement is named by `SKYWARD_BENCH`."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from hack.benches.peers.processes import MARK


def main() -> None:
    module, figures = sys.argv[1:]

    def note(name: str, value: Any) -> None:
        with Path(figures).open("a") as file:
            file.write(json.dumps({name: value}) + "\n")

    begin = time.perf_counter()
    imported = importlib.import_module(f"hack.benches.peers.{module}")
    note("import_s", round(time.perf_counter() - begin, 2))
    imported.measure_it(Path(os.environ[MARK]), note)


if __name__ == "__main__":  # some systems import this again in their workers
    main()
