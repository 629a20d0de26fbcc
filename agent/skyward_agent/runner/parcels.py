"""Payloads as the process that runs functions opens and packs them.

Large ones lie in files of the node's blob directory. Arguments are mapped, not read: arrays lie in the file's own pages, and
are copied only where the function writes to them. Results are written there once, hashed on the way.
"""

from __future__ import annotations

import itertools
import mmap
import os
import pickle
from pathlib import Path
from typing import Any

import cloudpickle

from skyward_agent.wire import payload
from skyward_agent.wire.files import BLOBS_VARIABLE
from skyward_agent.wire.parts import PACKING, write_blob
from skyward_agent.wire.payload import INLINE_BYTES, BlobRef, Envelope


class PayloadLost(Exception):
    """The node does not have the bytes of this payload; the name is that of `skyward.errors`."""


class Parcels:
    def __init__(self, base_directory: str, *, has_own_directory: bool = True) -> None:
        """`base_directory` is that of the tasks. Tells functions, by the environment, where files are."""
        self._directory = Path(base_directory).parent / "blobs"
        self._has_own_directory = has_own_directory
        self._numbers = itertools.count()  # threads pack at the same time, and may not share a generator
        os.environ[BLOBS_VARIABLE] = str(self._directory)

    def open(self, data: bytes) -> tuple[Any, Envelope | None]:
        """The object, and the envelope it came in. Files that the envelope lays out are in the current directory then. Raises
        PayloadLost, and whatever unpickling raises."""
        envelope = payload.open_envelope(data)
        if envelope is None:
            return pickle.loads(data), None  # noqa: S301 - this process is for that
        self._lay_out(envelope)
        if envelope.blob is None:
            return pickle.loads(envelope.inline), envelope  # noqa: S301
        pickled, *buffers = payload.cut(self._mapped(envelope.blob), envelope.spans)
        return pickle.loads(pickled, buffers=buffers), envelope  # noqa: S301

    def pack(self, value: object) -> bytes:
        """Raises OSError when the disk takes no more, and whatever pickling raises."""
        buffers: list[memoryview] = []
        try:
            pickled = pickle.dumps(value, protocol=5, buffer_callback=lambda one: _keep_in_band(one, buffers))
        except Exception:  # things of the caller's own script travel by value
            buffers.clear()
            pickled = cloudpickle.dumps(value, protocol=5, buffer_callback=lambda one: _keep_in_band(one, buffers))
        if not buffers and len(pickled) <= INLINE_BYTES:
            return pickled
        pieces = [memoryview(pickled), *buffers]
        spans, size = payload.lay_out(pieces)
        return Envelope(BlobRef(self._written(pieces, spans), size), spans).encode()

    def _lay_out(self, envelope: Envelope) -> None:
        for name, ref in envelope.files:
            if not (self._directory / ref.digest).exists():
                raise PayloadLost(f"the file {name or ref.digest[:16]!r} did not reach the node")
            if name and not self._has_own_directory:
                raise ValueError("threads share one directory: pass the file as an argument, or use executor: process")
            if name:
                target = Path(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(self._directory / ref.digest)

    def _mapped(self, ref: BlobRef) -> memoryview:
        try:
            descriptor = os.open(self._directory / ref.digest, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise PayloadLost(f"the arguments did not reach the node: {error.strerror or error}") from error
        try:
            if os.fstat(descriptor).st_size != ref.size:
                raise PayloadLost("the arguments on the node are not whole")
            return memoryview(mmap.mmap(descriptor, ref.size, access=mmap.ACCESS_COPY))
        finally:
            os.close(descriptor)

    def _written(self, pieces: list[memoryview], spans: tuple[payload.Span, ...]) -> str:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / f"{PACKING}{os.getpid()}-{next(self._numbers)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            digest = write_blob(descriptor, payload.laid_out(pieces, spans))
            path.replace(self._directory / digest)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return digest


def _keep_in_band(buffer: pickle.PickleBuffer, apart: list[memoryview]) -> bool:
    """Large contiguous ones go apart."""
    try:
        raw = buffer.raw()
    except BufferError:
        return True
    if raw.nbytes < INLINE_BYTES:
        return True
    apart.append(raw)
    return False
