"""The command behind hack/sweep."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator"), str(ROOT / "agent")]

from tests.sweep.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
