"""Who asks: every path but the probes takes a bearer token, on loopback too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from skyward.apiserver.asking import NAME, RESOURCE, STREAM, USER
from skyward.apiserver.refusals import Refusal, from_error, from_http
from skyward.apiserver.writing import answer
from skyward.contracts import Credentials
from skyward.errors import SkyError

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBES = ("/healthz", "/livez", "/readyz")
_MAX_TOKEN = 4096


class Gate:
    """Middleware: lets known users in, and answers every error as a Status."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    @web.middleware
    async def refuse(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except SkyError as error:
            refusal = from_error(error, _subject(request))
            if refusal.code >= 500:
                log.error("request failed", method=request.method, path=request.path, error=str(error))
        except web.HTTPException as error:
            refusal = from_http(error.status, error.reason)
        except ConnectionError:
            raise
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            refusal = Refusal(500, "InternalError", f"{type(error).__name__}: see the operator's log")
        begun = request.get(STREAM)
        if begun is not None and begun.prepared:
            if request.transport is not None:
                request.transport.abort()  # the answer has begun: only breaking it off tells the client
            return begun  # type: ignore[no-any-return]
        headers = {"WWW-Authenticate": 'Bearer realm="skyward"'} if refusal.code == 401 else {}
        response = answer(refusal.to_json(), status=refusal.code)
        response.headers.update(headers)
        return response

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PROBES:
            return await handler(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = None
        if scheme.lower() == "bearer" and 0 < len(token.strip()) <= _MAX_TOKEN:
            user = await self._credentials.user_of(token.strip())
        if user is None:
            raise Refusal(401, "Unauthorized", "Unauthorized: the token is missing or not known to this operator")
        request[USER] = user
        return await handler(request)


def _subject(request: web.Request) -> dict[str, str]:
    """What the path is about: kubectl puts it into its message."""
    resource = request.get(RESOURCE)
    if resource is None:
        return {}
    return {
        "name": request.get(NAME, request.match_info.get("name", "")),
        "group": resource.group,
        "kind": resource.plural,
    }
