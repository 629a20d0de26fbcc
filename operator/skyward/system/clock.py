"""Real time and real chance."""

from __future__ import annotations

import asyncio
import random
import secrets
import string
import time
import uuid

_SUFFIX_LETTERS = string.ascii_lowercase + string.digits


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    def uid(self) -> str:
        return str(uuid.uuid4())

    def suffix(self) -> str:
        return "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))

    def token(self) -> str:
        return secrets.token_urlsafe(32)

    def fraction(self) -> float:
        return random.random()
