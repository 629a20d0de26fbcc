"""How many create calls are under way at each provider, and who waits until there are fewer."""

from __future__ import annotations

from collections import Counter


class CreateLines:
    def __init__(self, at_once: int) -> None:
        """Of so many calls at one provider no pool holds more than half: one whose calls hang holds up no other."""
        self._at_once = at_once
        self._of_one_pool = max(1, at_once // 2)
        self._at_provider: Counter[str] = Counter()
        self._of_pool: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[str, dict[str, None]] = {}

    def enter(self, provider: str, pool_uid: str, key: str) -> bool:
        """Take a place; False when there is none, and `key` waits for one then."""
        if not self._has_room(provider, pool_uid):
            self._waiting.setdefault(provider, {})[key] = None
            return False
        self._at_provider[provider] += 1
        self._of_pool[provider, pool_uid] += 1
        return True

    def leave(self, provider: str, pool_uid: str) -> tuple[str, ...]:
        """Those who waited: they look again, in their order."""
        self._at_provider[provider] -= 1
        self._of_pool[provider, pool_uid] -= 1
        if not self._of_pool[provider, pool_uid]:
            del self._of_pool[provider, pool_uid]
        return tuple(self._waiting.pop(provider, ()))

    def _has_room(self, provider: str, pool_uid: str) -> bool:
        free = self._at_provider[provider] < self._at_once
        return free and self._of_pool[provider, pool_uid] < self._of_one_pool
