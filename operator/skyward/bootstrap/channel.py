"""One node's channel: connect, upload, run the recipe, hold the tunnel.

The script runs detached on the node and writes its journal to a file and, while we listen, to us. When the connection
breaks or the operator starts anew, the journal tells what happened meanwhile and the same script is launched again: it
refuses to run twice at once and skips what is done, so launching it is always right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import asyncssh
import structlog

from skyward.bootstrap.report import Report
from skyward.bootstrap.transport import Connection, closing, connect
from skyward.contracts import Clock, Ids
from skyward.errors import HostKeyMismatch, StepFailed, TransportError
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState

log = structlog.get_logger()

SCRIPT = ".skyward/bootstrap.sh"
JOURNAL = ".skyward/journal"
ENDPOINT = ".skyward/endpoint"
_LAUNCH = f"""\
log="$HOME/.skyward/bootstrap.log"
set -- sh "$HOME/{SCRIPT}" {{run}}
if command -v setsid >/dev/null 2>&1; then exec setsid "$@" </dev/null 2>"$log"; fi
exec nohup "$@" </dev/null 2>"$log"
"""
_BUSY_POLL_S = 0.5
_FIRST_RETRY_S = 0.2
_LAST_RETRY_S = 15.0
_LAST_REOPEN_S = 30.0


class Channel:
    """Lives from `run` until its task is cancelled, it fails, or it is done and holds nothing."""

    def __init__(
        self,
        request: BootstrapRequest,
        *,
        client_key: asyncssh.SSHKey,
        task_endpoint: Callable[[], tuple[str, int]],
        gate: asyncio.Semaphore,
        clock: Clock,
        ids: Ids,
        changed: Callable[[], None],
    ) -> None:
        self.request = request
        self.progress = BootstrapProgress(state=BootstrapState.CONNECTING)
        self._client_key = client_key
        self._pinned = asyncssh.import_public_key(request.host_key) if request.host_key else None
        self._task_endpoint = task_endpoint
        self._gate = gate
        self._clock = clock
        self._ids = ids
        self._changed = changed
        self._run_id = ids.suffix() + ids.suffix()
        self._report = Report()
        self._is_launched = False
        self._log = log.bind(node=request.node, instance=request.provider_id)

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self.request.deadline_s):
                connection = await self._bootstrap()
        except TimeoutError:
            waited_for = self.progress.message or self.progress.step or "the connection"
            self._fail(f"the bootstrap did not finish within {self.request.deadline_s:g} s; last: {waited_for}")
        except HostKeyMismatch as error:
            self._mismatch(error)
        except StepFailed as error:
            self._fail(str(error), step=error.step, tail=error.tail)
        if connection is not None:
            await self._hold(connection)

    def fail_unexpectedly(self) -> None:
        self._fail("the bootstrap broke off by an error in the operator; its log says which")

    # --- bootstrap ----------------------------------------------------------------------------------------------

    async def _bootstrap(self) -> Connection | None:
        """Try until it is done. Returns the connection when it must be held."""
        began = self._clock.monotonic()
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                return await self._try(began)
            except HostKeyMismatch:
                raise
            except TransportError as error:
                self._set(BootstrapState.CONNECTING, message=f"{error}; trying again")
                self._log.debug("bootstrap connection lost", error=str(error))
            await self._clock.sleep(retry_s * (0.5 + self._ids.fraction()))
            retry_s = min(2 * retry_s, _LAST_RETRY_S)

    async def _try(self, began: float) -> Connection | None:
        async with self._gate:
            connection = await self._connect()
            is_kept = False
            try:
                self._phase("connect", self._clock.monotonic() - began)
                await self._upload(connection)
            except BaseException:
                await connection.close()
                raise
        try:
            await self._run_script(connection)
            is_kept = self.request.tunnel
            self._set(BootstrapState.DONE, step="")
            self._log.info("node bootstrapped", duration_s=round(self._clock.monotonic() - began, 3))
            return connection if is_kept else None
        finally:
            if not is_kept:
                await connection.close()

    async def _connect(self) -> Connection:
        connection = await connect(self.request, self._client_key, self._pinned)
        self._pinned = connection.host_key
        fingerprint = connection.host_key.get_fingerprint()
        if fingerprint != self.progress.host_key_fingerprint:
            self.progress = replace(self.progress, host_key_fingerprint=fingerprint)
        return connection

    async def _upload(self, connection: Connection) -> None:
        began = self._clock.monotonic()
        files = (*self.request.files, (SCRIPT, self.request.script.encode(), 0o600))
        broken: TransportError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                if self.request.tunnel:
                    group.create_task(self._open_tunnel(connection))
                for path, content, mode in files:
                    group.create_task(connection.put(path, content, mode))
        except* TransportError as failures:
            broken = _first(failures)
        if broken is not None:
            raise broken
        self._phase("upload", self._clock.monotonic() - began)

    async def _run_script(self, connection: Connection) -> None:
        """Launch the script until a run of it is over. Raises StepFailed when that failed, TransportError when it was cut off."""
        report = self._report
        while True:
            if self._is_launched:
                report.read_over(await connection.tail(JOURNAL))
                if report.is_over and report.run == self._run_id:
                    break
            report.begin()
            self._set(BootstrapState.RUNNING)
            async for line in connection.follow(_LAUNCH.format(run=self._run_id)):
                self._is_launched = True
                if report.feed(line):
                    self._set(BootstrapState.RUNNING, step=report.step, message=report.title)
            if report.is_over:
                break
            if not report.is_busy:
                raise TransportError("the bootstrap script was cut off on the node")
            # An earlier run, of this operator or of one before it, is still at work.
            report.read_over(await connection.tail(JOURNAL))
            self._set(BootstrapState.RUNNING, step=report.step, message=report.title)
            await self._clock.sleep(_BUSY_POLL_S)
        failure = report.failure()
        if failure is not None:
            raise failure

    # --- tunnel -------------------------------------------------------------------------------------------------

    async def _open_tunnel(self, connection: Connection) -> None:
        port = await connection.forward_from_node(*self._task_endpoint())
        await connection.put(ENDPOINT, f"127.0.0.1:{port}\n".encode(), 0o600)

    async def _hold(self, connection: Connection) -> None:
        """Keep the tunnel open, reopening it for ever."""
        while True:
            async with closing(connection):
                await connection.wait_closed()
            self._log.info("tunnel lost, reopening")
            reopened = await self._reopen()
            if reopened is None:
                return
            connection = reopened
            self._set(BootstrapState.DONE)
            self._log.info("tunnel reopened")

    async def _reopen(self) -> Connection | None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async with self._gate:
                    return await self._connect_with_tunnel()
            except HostKeyMismatch as error:
                self._mismatch(error)
                return None
            except TransportError as error:
                self._set(BootstrapState.DONE, message=f"the tunnel is being reopened: {error}")
            await self._clock.sleep(retry_s * (0.5 + self._ids.fraction()))
            retry_s = min(2 * retry_s, _LAST_REOPEN_S)

    async def _connect_with_tunnel(self) -> Connection:
        connection = await self._connect()
        try:
            await self._open_tunnel(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    # --- progress -----------------------------------------------------------------------------------------------

    def _phase(self, name: str, seconds: float) -> None:
        self._report.phases.setdefault(name, seconds)
        self._set(self.progress.state)

    def _fail(self, message: str, *, step: str = "", tail: str = "") -> None:
        self._log.warning("bootstrap failed", reason=message, step=step)
        self._set(BootstrapState.FAILED, step=step or self.progress.step, message=message, tail=tail)

    def _mismatch(self, error: HostKeyMismatch) -> None:
        self._log.error("host key mismatch", reason=str(error))
        self._set(BootstrapState.HOST_KEY_MISMATCH, message=str(error))

    def _set(self, state: BootstrapState, *, step: str | None = None, message: str = "", tail: str = "") -> None:
        progress = replace(
            self.progress,
            state=state,
            step=self.progress.step if step is None else step,
            phases=self._report.as_phases(),
            message=message,
            tail=tail,
        )
        if progress != self.progress:
            self.progress = progress
            self._changed()


def _first(failures: BaseExceptionGroup[TransportError]) -> TransportError:
    """One of several that failed together, to be raised alone: they have one cause."""
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
