"""Records that are lost: an older copy of the store is put back, or an empty one begun for the same installation; and people who
accept the machines that are there."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial

from skyward.api import Source
from skyward.api.meta import ADOPTED
from skyward.apiserver.asking import Edit
from skyward.apiserver.sources import SourceWrites
from skyward.contracts import Transaction
from skyward.errors import SkyError
from skyward.store.database import open_memory
from tests.simulation.operator import Operator
from tests.simulation.records import Records
from tests.simulation.storing import open_database
from tests.simulation.world import World

_PER_HOUR = 3.0
_ANSWER_S = 30.0
_WAY_S = 200.0
"""Whatever was on its way when the operator died has arrived by then."""
_AGES_S = (30.0, 120.0, 600.0)


@dataclass(frozen=True, slots=True)
class Backup:
    rows: bytes
    records: Records
    installation: str


async def lose_records(world: World) -> None:
    stream = world.chance.stream("restores")
    while world.faults.on:
        await asyncio.sleep(stream.expovariate(_PER_HOUR / 3600.0))
        backup = copied(world)
        await asyncio.sleep(stream.choice(_AGES_S))
        is_empty = stream.random() < 0.3
        if not world.faults.on or not backup.installation:
            return
        await _away(world)
        restore(world, None if is_empty else backup)
        world.come_back()
        await asyncio.sleep(stream.choice((60.0, 300.0)))
        await adopt(world)


def copied(world: World) -> Backup:
    """The store as it is now, and what those who listened know of it."""
    return Backup(world.database.raw.serialize(), copy.deepcopy(world.records), world.installation)


def restore(world: World, backup: Backup | None) -> None:
    """While nobody runs. Without a backup the store begins anew, for the same installation."""
    world.tell("user", "restores older records" if backup is not None else "begins with empty records")
    world.coverage.reach("older records restored" if backup is not None else "records begun anew")
    world.database.close()
    if backup is not None:
        world.database = open_memory()
        world.database.raw.deserialize(backup.rows)
    else:
        world.database = open_database()
        world.database.raw.execute("INSERT INTO meta VALUES ('installation', ?)", (world.installation,))
        world.database.raw.commit()
    world.records = copy.deepcopy(backup.records) if backup is not None else Records()
    for checker in world.checkers:
        checker.restored()


async def adopt(world: World) -> None:
    """Accept the machines that the records do not know, if there are any."""
    operator = world.operator
    if operator is None or not operator.serves:
        return
    try:
        _, sources = await operator.process.ask(partial(_sources, operator), _ANSWER_S)
        for source in sources or ():
            for hash_ in source.status.adoptable:
                world.tell("user", f"adopts {hash_}")
                await operator.process.ask(partial(_accept, operator, source, hash_), _ANSWER_S)
    except SkyError as error:
        world.tell("user", f"is told: {error}")


async def _away(world: World) -> None:
    """A restore takes its time; nobody runs meanwhile."""
    world.is_away = True
    for operator in tuple(world.operators):
        operator.process.die("killed")
    await asyncio.sleep(_WAY_S)


def _sources(operator: Operator) -> Awaitable[tuple[Source, ...]]:
    def work(tx: Transaction) -> tuple[Source, ...]:
        return tuple(tx.list(Source))

    return operator.store.read(work)


def _accept(operator: Operator, source: Source, hash_: str) -> Awaitable[Source]:
    meta = source.metadata
    edit = Edit(lambda body: {**body, "metadata": {**body["metadata"], "annotations": {ADOPTED: hash_}}})
    return SourceWrites(operator.store).update(meta.namespace, meta.name, edit, dry_run=False, user="somebody")
