"""Errors as Kubernetes clients read them: a Status object with a code, a reason and, per field, a cause."""

from __future__ import annotations

from http import HTTPStatus

from skyward.api import Json
from skyward.errors import (
    AlreadyExists,
    Conflict,
    HistoryExpired,
    Invalid,
    NotFound,
    ReadOnlySource,
    SkyError,
)

_REASONS: tuple[tuple[type[SkyError], int, str], ...] = (
    (AlreadyExists, 409, "AlreadyExists"),
    (NotFound, 404, "NotFound"),
    (Conflict, 409, "Conflict"),
    (Invalid, 422, "Invalid"),
    (ReadOnlySource, 403, "Forbidden"),
    (HistoryExpired, 410, "Expired"),
)


class Refusal(SkyError):
    """This request is answered with a Status of this code and reason."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}

    def to_json(self) -> Json:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def no_such_path() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def no_such_object(plural: str, group: str, name: str) -> Refusal:
    full = f"{plural}.{group}" if group else plural
    return Refusal(404, "NotFound", f'{full} "{name}" not found', {"name": name, "group": group, "kind": plural})


def not_allowed(message: str = "the server does not allow this method on the requested resource") -> Refusal:
    return Refusal(405, "MethodNotAllowed", message)


def from_error(error: SkyError, details: Json | None = None) -> Refusal:
    """What the caller is told of an error that a room below raised on purpose."""
    if isinstance(error, Refusal):
        return error
    for cls, code, reason in _REASONS:
        if isinstance(error, cls):
            causes = _causes(error) if isinstance(error, Invalid) else {}
            return Refusal(code, reason, str(error), {**(details or {}), **causes})
    return Refusal(500, "InternalError", f"{type(error).__name__}: {error}")


def from_http(status: int, message: str) -> Refusal:
    """What the caller is told when the HTTP layer itself refuses a request."""
    if status == HTTPStatus.NOT_FOUND:
        return no_such_path()
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return not_allowed()
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Refusal(status, "RequestEntityTooLarge", "the request body is too large: the limit is 3 MiB")
    return Refusal(status, "BadRequest", message)


def _causes(error: Invalid) -> Json:
    if not error.causes:
        return {}
    return {
        "causes": [
            {"reason": "FieldValueInvalid", "message": message, "field": field} for field, message in error.causes
        ]
    }
