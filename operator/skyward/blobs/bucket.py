"""One prefix of an S3 bucket: objects by digest, written once and only if they are not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioboto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from skyward.errors import PayloadLost, StorageFull

PART_BYTES = 16 * 1024 * 1024
_MOST_PARTS = 9_000
_LINK_S = 3_600
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_IS_THERE = frozenset({"PreconditionFailed", "412"})
_TIMEOUTS = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})


@asynccontextmanager
async def opened_bucket(name: str, prefix: str, endpoint: str | None, region: str | None) -> AsyncIterator[Bucket]:
    """Credentials are found as AWS's own tools find them."""
    session = aioboto3.Session()
    async with session.client("s3", endpoint_url=endpoint, region_name=region, config=_TIMEOUTS) as client:
        yield Bucket(client, name, prefix)


class Bucket:
    """Raises StorageFull when it takes nothing now, PayloadLost when it does not give what it had."""

    def __init__(self, client: Any, name: str, prefix: str) -> None:
        self._client = client
        self._name = name
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    async def sizes(self) -> dict[str, int]:
        """All of it, by digest."""
        found = {}
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=self._prefix)
            async for page in pages:
                for one in page.get("Contents", ()):
                    found[one["Key"].removeprefix(self._prefix)] = int(one["Size"])
        except (ClientError, BotoCoreError) as error:
            raise StorageFull(f"bucket {self._name} cannot be listed: {_text(error)}") from error
        return found

    async def put(self, digest: str, path: Path, size: int) -> None:
        """Idempotent, and safe beside others that put the same."""
        try:
            if size <= PART_BYTES:
                body = await asyncio.to_thread(path.read_bytes)
                await self._client.put_object(**self._at(digest), Body=body, IfNoneMatch="*")
            else:
                await self._put_in_parts(digest, path, size)
        except ClientError as error:
            if _code(error) not in _IS_THERE:
                raise StorageFull(f"bucket {self._name} does not take a payload: {_text(error)}") from error
        except (BotoCoreError, OSError) as error:
            raise StorageFull(f"bucket {self._name} does not take a payload: {_text(error)}") from error

    async def _put_in_parts(self, digest: str, path: Path, size: int) -> None:
        begun = await self._client.create_multipart_upload(**self._at(digest))
        upload = {**self._at(digest), "UploadId": begun["UploadId"]}
        step = max(PART_BYTES, -(-size // _MOST_PARTS))
        try:
            parts = []
            for number, offset in enumerate(range(0, size, step), 1):
                body = await asyncio.to_thread(_read, path, offset, step)
                done = await self._client.upload_part(**upload, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": done["ETag"]})
            await self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            await self._client.abort_multipart_upload(**upload)
            raise

    async def read(self, digest: str, offset: int, count: int) -> bytes:
        try:
            answer = await self._client.get_object(**self._at(digest), Range=f"bytes={offset}-{offset + count - 1}")
            async with answer["Body"] as body:
                data: bytes = await body.read()
        except (ClientError, BotoCoreError) as error:
            raise PayloadLost(f"blob {digest[:16]} cannot be read from bucket {self._name}: {_text(error)}") from error
        return data

    async def delete(self, digest: str) -> None:
        try:
            await self._client.delete_object(**self._at(digest))
        except (ClientError, BotoCoreError) as error:
            raise StorageFull(f"bucket {self._name} does not delete: {_text(error)}") from error

    async def link(self, digest: str) -> str:
        """Where anybody can read it for an hour."""
        url: str = await self._client.generate_presigned_url("get_object", Params=self._at(digest), ExpiresIn=_LINK_S)
        return url

    def _at(self, digest: str) -> dict[str, str]:
        return {"Bucket": self._name, "Key": self._prefix + digest}


def is_gone(error: BaseException | None) -> bool:
    """Whether the cause of a PayloadLost is that there is no such object, rather than that it cannot be had now."""
    return isinstance(error, ClientError) and _code(error) in _GONE


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _text(error: Exception) -> str:
    return _code(error) or "refused" if isinstance(error, ClientError) else f"{type(error).__name__}"


def _read(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)
