"""Patches: RFC 7396 (merge) and RFC 6902 (JSON patch). Pure; the original is never changed."""

from __future__ import annotations

import copy
from typing import Any

from skyward.api import Json
from skyward.apiserver.refusals import Refusal, bad_request

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
MAX_OPERATIONS = 1000


def merge(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply_operations(base: Json, operations: Any) -> Json:
    """Raises Refusal 400 for what is no JSON patch and 422 for one that does not fit, a failing `test` included."""
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise bad_request(f"a JSON patch is a list of at most {MAX_OPERATIONS} operations")
    document = {"": copy.deepcopy(base)}
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("each operation of a JSON patch is an object with op and path")
        _apply(document, operation)
    result = document[""]
    if not isinstance(result, dict):
        raise _unfit("the result is not an object")
    return result


def _apply(document: Json, operation: Json) -> None:
    path = operation["path"]
    match operation.get("op"):
        case "add":
            _insert(document, path, copy.deepcopy(_value(operation)))
        case "remove":
            _take(document, path)
        case "replace":
            _take(document, path)
            _insert(document, path, copy.deepcopy(_value(operation)))
        case "move":
            _insert(document, path, _take(document, _source(operation)))
        case "copy":
            _insert(document, path, copy.deepcopy(_get(document, _source(operation))))
        case "test":
            if _get(document, path) != _value(operation):
                raise _unfit(f"testing value {path} failed")
        case other:
            raise bad_request(f"a JSON patch has no operation {other!r}")


def _value(operation: Json) -> Any:
    if "value" not in operation:
        raise bad_request(f"{operation['op']} {operation['path']}: value is missing")
    return operation["value"]


def _source(operation: Json) -> str:
    if not isinstance(operation.get("from"), str):
        raise bad_request(f"{operation['op']} {operation['path']}: from is missing")
    return str(operation["from"])


def _parent(document: Json, path: str) -> tuple[Any, str]:
    if path and not path.startswith("/"):
        raise bad_request(f"{path!r} is not a JSON pointer")
    *above, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    target: Any = document
    for part in above:
        target = _child(target, part, path)
    return target, last


def _child(target: Any, part: str, path: str) -> Any:
    if isinstance(target, dict) and part in target:
        return target[part]
    if isinstance(target, list):
        return target[_index(part, len(target) - 1, path)]
    raise _unfit(f"{path}: there is no {part!r}")


def _get(document: Json, path: str) -> Any:
    target, last = _parent(document, path)
    return _child(target, last, path)


def _take(document: Json, path: str) -> Any:
    target, last = _parent(document, path)
    value = _child(target, last, path)
    del target[_index(last, len(target) - 1, path) if isinstance(target, list) else last]
    return value


def _insert(document: Json, path: str, value: Any) -> None:
    target, last = _parent(document, path)
    if isinstance(target, list):
        target.insert(len(target) if last == "-" else _index(last, len(target), path), value)
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise _unfit(f"{path}: its parent is neither an object nor a list")


def _index(part: str, most: int, path: str) -> int:
    if not part.isdecimal() or int(part) > most:
        raise _unfit(f"{path}: {part!r} is not an index of that list")
    return int(part)


def _unfit(message: str) -> Refusal:
    return Refusal(422, "Invalid", f"the server rejected our request: {message}")
