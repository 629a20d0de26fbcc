"""A state directory remembers whose it is, whatever happens to its database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skyward.errors import StateUnusable
from skyward.store import open_store
from tests.store.world import CountingIds, StillClock


def _opened(directory: Path, start: int = 1, wanted: str | None = None) -> str:
    """The installation's uid, as that opening finds or makes it."""
    store = open_store(directory, clock=StillClock(), ids=CountingIds(start), installation=wanted)
    asyncio.run(store.close())
    return store.installation


def test_a_lost_database_is_made_anew_for_the_same_installation(tmp_path: Path) -> None:
    first = _opened(tmp_path)
    (tmp_path / "skyward.db").unlink()

    assert _opened(tmp_path, start=50) == first


def test_a_database_of_another_installation_is_refused(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    _opened(mine)
    _opened(theirs, start=50)
    (theirs / "skyward.db").rename(mine / "skyward.db")

    with pytest.raises(StateUnusable, match="put the right database there"):
        _opened(mine)


def test_a_directory_of_an_earlier_version_learns_its_installation(tmp_path: Path) -> None:
    first = _opened(tmp_path)
    (tmp_path / "installation").unlink()

    assert _opened(tmp_path) == first
    assert (tmp_path / "installation").read_text() == f"{first}\n"


def test_an_installation_is_taken_over_by_an_empty_directory_and_by_no_other(tmp_path: Path) -> None:
    assert _opened(tmp_path / "new", wanted="lost-one") == "lost-one"
    _opened(tmp_path / "used")

    with pytest.raises(StateUnusable, match="choose an empty one"):
        _opened(tmp_path / "used", wanted="lost-one")
