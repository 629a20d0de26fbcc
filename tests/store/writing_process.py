"""A process that opens a store, says so, and writes until it is killed: `python -m tests.store.writing_process DIR`.

Prints one number for each acknowledged write.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skyward.store import open_store
from tests.store.world import CountingIds, StillClock, pool


async def main(directory: Path) -> None:
    store = open_store(directory, clock=StillClock(), ids=CountingIds())
    print("open", flush=True)
    number = 0
    while True:
        names = range(number, number + 5)
        await asyncio.gather(*(store.run(lambda tx, n=n: tx.put(pool(f"p{n}"))) for n in names))
        number += 5
        print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
