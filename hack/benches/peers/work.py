"""What every system is asked to run: the same functions for all of them."""

from __future__ import annotations


def noop(_: int = 0) -> None:
    return None


def length(data: bytes) -> int:
    return len(data)


def echo(data: bytes) -> bytes:
    return data
