"""Decisions are history: whoever plans or observes never reads them."""

from __future__ import annotations

import re
from pathlib import Path

ROOM = Path(__file__).parents[2] / "operator" / "skyward"
READERS = re.compile(r"\bDecisionRecord\b|\.(standing_decisions|last_decision|decisions_of|decisions)\(")
MAY_READ = ("facts/", "contracts/", "store/", "kit/decisions.py", "apiserver/why/")


def test_only_the_book_the_store_and_the_stories_read_decisions() -> None:
    found = {str(path.relative_to(ROOM)) for path in ROOM.rglob("*.py") if READERS.search(path.read_text())}

    assert {path for path in found if not path.startswith(MAY_READ)} == set()
