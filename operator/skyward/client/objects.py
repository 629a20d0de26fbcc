"""The operator's objects over HTTP: synchronous, with the installation's CA pinned and its name checked.

Answers are the JSON of the API. Errors come back as the classes of `skyward.errors` with the server's own message.
Only GETs are repeated, and only when the connection broke or the server asked for it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from skyward.client.config import ClientConfig
from skyward.client.logs import LogQuery, LogRecord
from skyward.errors import (
    AlreadyExists,
    Conflict,
    HistoryExpired,
    Invalid,
    NotFound,
    OperatorUnreachable,
    ReadOnlySource,
    SkyError,
    UserError,
)
from skyward_agent.wire.names import SERVER_NAME

if TYPE_CHECKING:
    from skyward.api import Json

_GROUP_PATH = "/apis/skyward.dev/v1alpha1"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_MERGE = "application/merge-patch+json"
_TRIES = 3
_PAUSE_S = 0.2
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_WATCH_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=90.0)
"""A watch is never silent for longer than its bookmarks are apart."""
_LOG_TIMEOUT = httpx.Timeout(30.0, connect=5.0, read=None)
"""A followed log may be silent for ever; TCP keep-alive notices a dead server."""
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
_LOG_ORIGIN = "Skyward-Log-Origin"
_ERRORS: dict[str, type[SkyError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Forbidden": ReadOnlySource,
    "Expired": HistoryExpired,
}


class ObjectClient:
    """Not for use by several threads at once. Close it, or use it in `with`."""

    def __init__(self, config: ClientConfig) -> None:
        if not config.server.startswith("https://"):
            raise UserError(
                f"{config.path}: server {config.server!r} must begin with https://, or the token could be read"
            )
        context = ssl.create_default_context(cadata=config.ca_pem)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server = config.server
        self._path = config.path
        self.log_origin = ""
        """Which operator process gave the last log: another one has kept other output."""
        self._http = httpx.Client(
            base_url=config.server,
            headers={"Authorization": f"Bearer {config.token}", "User-Agent": "skyward"},
            timeout=_TIMEOUT,
            transport=httpx.HTTPTransport(verify=context, socket_options=_KEEP_ALIVE, trust_env=False),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # --- reading ---------------------------------------------------------------------------------------------------

    def version(self) -> Json:
        return self._json("GET", "/version")

    def resources(self) -> Json:
        """The kinds that are served, with their verbs."""
        return self._json("GET", _GROUP_PATH)

    def get(self, plural: str, namespace: str, name: str) -> Json:
        return self._json("GET", _path(plural, namespace, name))

    def list(
        self,
        plural: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Json:
        """All objects of a kind; in every namespace when none is given."""
        return self._json("GET", _path(plural, namespace), params=_selectors(label_selector, field_selector))

    def table(
        self,
        plural: str,
        namespace: str | None = None,
        name: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Json:
        """The server's table of a list, or of one object."""
        params = _selectors(label_selector, field_selector)
        return self._json("GET", _path(plural, namespace, name), params=params, headers={"Accept": _TABLE})

    def watch(
        self,
        plural: str,
        namespace: str | None = None,
        *,
        name: str | None = None,
        resource_version: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_s: int | None = None,
        as_table: bool = False,
    ) -> Iterator[tuple[str, Json]]:
        """(ADDED, MODIFIED or DELETED, object) as they come, BOOKMARKs left out; without a resource version what exists comes
        first. Ends after `timeout_s` or when the server ends it. Raises HistoryExpired: list again."""
        fields = ",".join(filter(None, (f"metadata.name={name}" if name else None, field_selector)))
        params = _selectors(label_selector, fields)
        params |= {"watch": "true", "allowWatchBookmarks": "true"}
        if resource_version is not None:
            params["resourceVersion"] = resource_version
        if timeout_s is not None:
            params["timeoutSeconds"] = str(timeout_s)
        headers = {"Accept": _TABLE} if as_table else {}
        with self._stream(_path(plural, namespace), params, headers, _WATCH_TIMEOUT) as response:
            for line in response.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"])
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]

    def revisions(self, namespace: str, name: str) -> Json:
        """The list of the templates that a pool had, oldest first."""
        return self._json("GET", f"{_path('pools', namespace, name)}/revisions")

    def items(self, namespace: str, task: str, *, limit: int | None = None, after: str = "") -> Json:
        """A page of a task's items with their attempts; `after` is the `continue` of the page before."""
        params = {**({"limit": str(limit)} if limit else {}), **({"continue": after} if after else {})}
        return self._json("GET", f"{_path('tasks', namespace, task)}/items", params=params)

    def why(self, plural: str, namespace: str, name: str) -> Json:
        """The story of one object; of a pool or node also for a while after it is gone."""
        return self._json("GET", f"{_path(plural, namespace, name)}/why")

    def offerings(self, namespace: str, pool: str = "", body: Json | None = None) -> Json:
        """What could be launched: for this pool, for this manifest, or at all."""
        if pool:
            return self._json("GET", f"{_path('pools', namespace, pool)}/offerings")
        if body is not None:
            return self._json("POST", f"{_GROUP_PATH}/offerings", json=body)
        return self._json("GET", f"{_GROUP_PATH}/offerings")

    def log(
        self,
        plural: str,
        namespace: str,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[str]:
        """What was written in a task or on a node, in pieces; with `follow`, until the task is finished."""
        query = LogQuery(plural, namespace, name, follow, tail)
        with self._log(query, query.params()) as response:
            yield from response.iter_text()

    def log_records(self, query: LogQuery) -> Iterator[LogRecord]:
        """The same in records, each of which says where it stands."""
        with self._log(query, {**query.params(), "format": "records"}) as response:
            for line in response.iter_lines():
                yield LogRecord.of(json.loads(line))

    @contextlib.contextmanager
    def _log(self, query: LogQuery, params: dict[str, str]) -> Iterator[httpx.Response]:
        path = f"{_path(query.plural, query.namespace, query.name)}/log"
        with self._stream(path, params, {}, _LOG_TIMEOUT) as response:
            self.log_origin = response.headers.get(_LOG_ORIGIN, "")
            yield response

    # --- writing ---------------------------------------------------------------------------------------------------

    def create(self, plural: str, namespace: str, obj: Json, *, dry_run: bool = False) -> Json:
        return self._json("POST", _path(plural, namespace), params=_dry(dry_run), json=obj)

    def replace(self, plural: str, namespace: str, name: str, obj: Json, *, dry_run: bool = False) -> Json:
        """Raises Conflict unless the object carries the stored resource version."""
        return self._json("PUT", _path(plural, namespace, name), params=_dry(dry_run), json=obj)

    def patch(self, plural: str, namespace: str, name: str, patch: Json, *, dry_run: bool = False) -> Json:
        """A JSON merge patch."""
        return self._json(
            "PATCH",
            _path(plural, namespace, name),
            params=_dry(dry_run),
            content=json.dumps(patch),
            headers={"Content-Type": _MERGE},
        )

    def delete(self, plural: str, namespace: str, name: str, *, uid: str | None = None, dry_run: bool = False) -> Json:
        """Ask for the object's end; a task is cancelled. It may exist for a while yet."""
        options: Json = {"preconditions": {"uid": uid}} if uid else {}
        return self._json("DELETE", _path(plural, namespace, name), params=_dry(dry_run), json=options)

    def scale(self, namespace: str, name: str, nodes: int, *, dry_run: bool = False) -> Json:
        """Set a pool's `spec.nodes`."""
        return self._json(
            "PATCH",
            f"{_path('pools', namespace, name)}/scale",
            params=_dry(dry_run),
            content=json.dumps({"spec": {"replicas": nodes}}),
            headers={"Content-Type": _MERGE},
        )

    # --- HTTP ------------------------------------------------------------------------------------------------------

    def _json(self, method: str, path: str, **request: Any) -> Json:
        for last in (False,) * (_TRIES - 1) + (True,):
            with self._clear_errors():
                try:
                    response = self._http.request(method, path, extensions=_sni(), **request)
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    if method != "GET" or last:
                        raise
                    time.sleep(_PAUSE_S)
                    continue
            if response.status_code in (429, 503) and method == "GET" and not last:
                time.sleep(_retry_after(response))
                continue
            return _body(response)
        raise AssertionError("the last try returns or raises")

    @contextlib.contextmanager
    def _stream(
        self, path: str, params: dict[str, str], headers: dict[str, str], timeout: httpx.Timeout
    ) -> Iterator[httpx.Response]:
        request = {"params": params, "headers": headers, "timeout": timeout}
        with self._clear_errors(), self._http.stream("GET", path, extensions=_sni(), **request) as response:  # type: ignore[arg-type]
            if response.status_code >= 400:
                response.read()
                _body(response)
            yield response

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            if isinstance(error.__cause__ and error.__cause__.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error):
                raise OperatorUnreachable(
                    f"{self._server} does not show this installation's certificate: {self._path} belongs to another operator"
                ) from None
            raise OperatorUnreachable(
                f"no operator answers at {self._server} (from {self._path}): start one with skyctl up or skyward-operator run"
            ) from None
        except httpx.TimeoutException:
            raise OperatorUnreachable(f"the operator at {self._server} did not answer in time: see its log") from None
        except httpx.TransportError as error:
            raise OperatorUnreachable(
                f"the connection to the operator at {self._server} broke ({type(error).__name__}): try again"
            ) from None


def _sni() -> dict[str, Any]:
    return {"sni_hostname": SERVER_NAME}


def _path(plural: str, namespace: str | None, name: str | None = None) -> str:
    place = "" if namespace is None else f"/namespaces/{_quoted(namespace)}"
    return f"{_GROUP_PATH}{place}/{plural}" + (f"/{_quoted(name)}" if name is not None else "")


def _quoted(part: str) -> str:
    from urllib.parse import quote

    return quote(part, safe="")


def _selectors(labels: str | None, fields: str | None) -> dict[str, str]:
    found = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in found.items() if value}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), 10.0) if text.isdecimal() else _PAUSE_S


def _body(response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise OperatorUnreachable(
            f"{response.url.host}:{response.url.port} answered {response.status_code} and no JSON"
        )
    if response.status_code >= 400:
        raise _error(body)
    return body


def _error(status: Json) -> SkyError:
    """A Status object as the error it was on the server."""
    reason, message = str(status.get("reason", "")), str(status.get("message", "no message"))
    if reason == "Invalid":
        causes = (status.get("details") or {}).get("causes") or []
        return Invalid(message, tuple((cause.get("field", ""), cause.get("message", "")) for cause in causes))
    if reason == "Unauthorized":
        return UserError(f"{message}: take the configuration that this operator wrote")
    return _ERRORS.get(reason, UserError)(message)
