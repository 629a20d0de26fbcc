"""The operator, noting when the frames and commits of its calls come and go: `traced_operator.py MARKS run …`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator"), str(ROOT / "agent")]

from hack.benches.marks import Marks  # noqa: E402
from skyward.main import main  # noqa: E402
from skyward.store.writer import Batches  # noqa: E402


def traced() -> None:
    path = Path(sys.argv.pop(1))
    marks = Marks("operator")
    marks.of_frames()
    marks.around(Batches, "run", before="writes", after="committed")
    try:
        main()
    finally:
        marks.save(path)


if __name__ == "__main__":
    traced()
