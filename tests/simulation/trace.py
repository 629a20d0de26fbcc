"""What happened, as lines: hashed always, so that two runs can be compared, and kept where a person wants to read them."""

from __future__ import annotations

import hashlib


class Trace:
    def __init__(self, *, keep: bool = False) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._keep = keep
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, at_s: float, who: str, what: str) -> None:
        self.count += 1
        line = f"{at_s:12.6f} {who:<12} {what}"
        self._hash.update(line.encode())
        if self._keep:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
