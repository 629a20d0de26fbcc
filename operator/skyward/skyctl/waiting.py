"""wait: until a condition, a field or the end of an object is as asked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skyward.errors import HistoryExpired, NotFound, OperatorUnreachable, UserError
from skyward.skyctl.kinds import Kind, targets
from skyward.skyctl.options import Selector, Timeout, Words
from skyward.skyctl.reconnecting import await_operator
from skyward.skyctl.session import Session, complain, say, seconds

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_CREATED = "created"
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Goal:
    holds: Callable[[Json | None], bool]
    """Of the object, or of None when there is none."""
    text: str


class TimedOut(UserError):
    """What was waited for did not come in time."""


def wait(
    ctx: typer.Context,
    what: Words,
    for_: Annotated[
        str, typer.Option("--for", metavar="condition=TYPE[=STATUS] | delete | create | jsonpath={.path}[=VALUE]")
    ],
    timeout: Timeout = "30s",
    selector: Selector = None,
) -> None:
    """Wait until objects are as asked: wait pool/hello --for=condition=Ready --timeout=5m."""
    session = Session.of(ctx)
    goal, limit_s = parse_goal(for_), seconds(timeout, "--timeout")
    deadline = time.monotonic() + limit_s
    failed = False
    with session.client() as client:
        namespace = session.namespace()
        for kind, name in _chosen(client, targets(what), namespace, selector):
            try:
                await_goal(client, kind, namespace, name, goal, deadline)
                say(f"{kind.ref(name)} {goal.text}")
            except (TimedOut, NotFound) as error:
                complain(str(error))
                failed = True
    if failed:
        raise typer.Exit(1)


def await_goal(client: ObjectClient, kind: Kind, namespace: str, name: str, goal: Goal, deadline: float) -> Json | None:
    """The object as it was when the goal was met. Raises TimedOut, and NotFound when it is gone before that."""
    while True:
        try:
            return _await_once(client, kind, namespace, name, goal, deadline)
        except HistoryExpired:
            continue
        except OperatorUnreachable as error:
            await_operator(client, error, deadline - time.monotonic())


def _await_once(
    client: ObjectClient, kind: Kind, namespace: str, name: str, goal: Goal, deadline: float
) -> Json | None:
    """Like `await_goal`; what breaks the watch comes out."""
    while True:
        found = client.list(kind.plural, namespace, field_selector=f"metadata.name={name}")
        current: Json | None = next(iter(found["items"]), None)
        if goal.holds(current):
            return current
        if current is None and goal.text != _CREATED:
            raise NotFound(f'{kind.plural}.skyward.dev "{name}" not found')
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimedOut(f"timed out waiting for {kind.ref(name)}: not {goal.text} yet")
        version = found["metadata"]["resourceVersion"]
        for type_, body in client.watch(
            kind.plural, namespace, name=name, resource_version=version, timeout_s=max(1, int(remaining))
        ):
            current = None if type_ == "DELETED" else body
            if goal.holds(current):
                return current
            if current is None or time.monotonic() > deadline:
                break


def await_gone(client: ObjectClient, kind: Kind, namespace: str, name: str, uid: str, limit_s: float) -> None:
    """Until no object of this name and uid is left. Raises TimedOut."""
    goal = Goal(lambda body: body is None or (bool(uid) and bool(body) and body["metadata"]["uid"] != uid), "deleted")
    await_goal(client, kind, namespace, name, goal, time.monotonic() + limit_s)


def parse_goal(text: str) -> Goal:
    """Raises UserError for anything that is not a goal."""
    kind, _, rest = text.partition("=")
    if text in ("delete", "create"):
        return Goal(lambda body: (body is None) is (text == "delete"), "deleted" if text == "delete" else _CREATED)
    if kind == "condition" and rest:
        type_, _, status = rest.partition("=")
        return Goal(lambda body: _has_condition(body, type_, status or "True"), "condition met")
    if kind == "jsonpath" and rest:
        return _path_goal(rest)
    raise UserError(f"--for={text}: there is condition=TYPE[=STATUS], delete, create and jsonpath='{{.path}}'[=VALUE]")


def _chosen(
    client: ObjectClient, words: list[tuple[Kind, str | None]], namespace: str, selector: str | None
) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []
    for kind, name in words:
        if name is not None:
            found.append((kind, name))
            continue
        items = client.list(kind.plural, namespace, selector)["items"]
        found += [(kind, item["metadata"]["name"]) for item in items]
    if not found:
        raise NotFound("no matching objects found")
    return found


def _has_condition(body: Json | None, type_: str, status: str) -> bool:
    """What a controller said of an older spec does not count."""
    if not body:
        return False
    state = body.get("status") or {}
    for condition in state.get("conditions") or ():
        if condition["type"].lower() == type_.lower():
            seen = condition.get("observedGeneration", state.get("observedGeneration"))
            is_current = seen is None or seen >= body["metadata"].get("generation", 0)
            return bool(is_current and condition["status"].lower() == status.lower())
    return False


def _path_goal(text: str) -> Goal:
    path, separator, wanted = text.partition("}=") if text.startswith("{") else text.partition("=")
    path = path.strip("{}").strip()
    path = path if path.startswith(("[", ".")) else f".{path}"
    steps = [next(filter(None, groups)) for groups in _STEP.findall(path)]
    if not steps or _STEP.sub("", path):
        raise UserError(f"--for=jsonpath={text}: {path!r} is not a path like .status.ready")

    def holds(body: Json | None) -> bool:
        value = _walk(body, steps)
        return value not in (None, "") and (not separator or _plain(value) == wanted.strip("'\""))

    return Goal(holds, "condition met")


def _walk(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, list) and step.isdecimal():
            value = value[int(step)] if int(step) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
