"""The store for blobs that the settings ask for: a directory, or a bucket with a directory before it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from skyward.blobs.local import LocalBlobs
from skyward.contracts import Blobs, Clock
from skyward.errors import StorageFull, UserError
from skyward.settings import PayloadSettings


@asynccontextmanager
async def opened_blobs(root: Path, chosen: PayloadSettings, *, clock: Clock, proof: str) -> AsyncIterator[Blobs]:
    """Open as long as the operator serves. Raises UserError when directory or bucket cannot be used."""
    staging = _directory(root, chosen, clock, proof)
    if not chosen.s3_bucket:
        yield staging
        return
    name, _, prefix = chosen.s3_bucket.partition("/")
    modules = _s3_modules()
    opened: AbstractAsyncContextManager[Any] = modules["bucket"].opened_bucket(
        name, prefix, chosen.s3_endpoint, chosen.s3_region
    )
    async with opened as bucket:
        blobs = modules["s3"].S3Blobs(bucket, staging, clock, limit_bytes=chosen.disk_bytes)
        try:
            await blobs.open()
        except StorageFull as error:
            raise UserError(f"payloads.s3_bucket: {error}: check its name, its region and the credentials") from error
        yield blobs


def _directory(root: Path, chosen: PayloadSettings, clock: Clock, proof: str) -> LocalBlobs:
    try:
        return LocalBlobs(
            root, clock=clock, proof=proof, limit_bytes=chosen.disk_bytes, kept_bytes=chosen.disk_free_bytes
        )
    except OSError as error:
        raise UserError(f"{root} cannot be used ({error.strerror or error}): check its owner and its disk") from error


def _s3_modules() -> dict[str, Any]:
    """Heavy, and not everybody's: loaded for those who ask for it."""
    try:
        return {name: importlib.import_module(f"skyward.blobs.{name}") for name in ("bucket", "s3")}
    except ModuleNotFoundError as error:
        raise UserError("payloads.s3_bucket needs a library: install skyward-operator[s3]") from error
