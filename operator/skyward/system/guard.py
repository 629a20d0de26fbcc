"""A tripwire: the operator carries pickles of its users and must never load one (S48)."""

from __future__ import annotations

import sys


def forbid_unpickling() -> None:
    """From now on, loading a pickle that names any class or function raises in this process. Cannot be undone."""
    sys.addaudithook(_refuse)


def _refuse(event: str, _: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        raise RuntimeError("the operator never unpickles")
