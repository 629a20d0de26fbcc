"""why: the decisions behind a pool, a node or a task, as sentences."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import UserError
from skyward.skyctl.ages import age_at
from skyward.skyctl.kinds import NODES, POOLS, TASKS, named
from skyward.skyctl.options import Words
from skyward.skyctl.printing import print_json, print_yaml
from skyward.skyctl.session import Session, clean, say

if TYPE_CHECKING:
    from skyward.api import Json

_KINDS = (POOLS, NODES, TASKS)
_FORMS = ("", "yaml", "json")
_LASTING = ("hold", "skip", "wait")
_INDENT = "  "
_NARROWEST = 60


def why(
    ctx: typer.Context,
    what: Words,
    output: Annotated[str, typer.Option("--output", "-o", help="yaml or json: with rules and their inputs.")] = "",
) -> None:
    """Tell why a pool, a node or a task is as it is: why pool hello, why node/hello-0-x1y2."""
    if output not in _FORMS:
        raise UserError(f"-o {output}: there is yaml and json")
    session = Session.of(ctx)
    chosen = named(what)
    for kind, _ in chosen:
        if kind not in _KINDS:
            raise UserError(f"nothing is decided about {kind.plural}: ask about a pool, a node or a task")
    with session.client() as client:
        namespace = session.namespace()
        for index, (kind, name) in enumerate(chosen):
            story = client.why(kind.plural, namespace, name)
            if output == "json":
                print_json(story)
                continue
            if index:
                say("---" if output else "")
            (print_yaml if output else _tell)(story)


def page(story: Json, now: float, width: int | None = None) -> Iterator[str]:
    """The story as lines to read. With a width, what goes on in the next line stands below its beginning."""
    yield from _lines(story["summary"][:1].upper() + story["summary"][1:], "", width)
    for chapter in story["chapters"]:
        yield ""
        yield f"{chapter['title']}:"
        times = [_when(line, now) for line in chapter["lines"]]
        longest = max(map(len, times))
        for time_, line in zip(times, chapter["lines"], strict=True):
            lead = f"{_INDENT}{time_.ljust(longest)}{_INDENT}" if longest else _INDENT
            yield from _lines(_told(line), lead, width)
            for text in _left_out(line):
                yield from _lines(text, " " * len(lead) + _INDENT, width)
    if story["see"]:
        yield ""
        yield f"See also: {', '.join(f'skyctl why {other}' for other in story['see'])}"


def _tell(story: Json) -> None:
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else None
    for line in page(story, time.time(), width):
        say(line)


def _when(line: Json, now: float) -> str:
    if "time" not in line:
        return ""
    if line.get("stands"):
        return f"since {age_at(line['time'], now)}"
    if "until" in line and line.get("decision") in _LASTING:
        return f"until {age_at(line['until'], now)} ago"
    return f"{age_at(line['until'] if 'until' in line else line['time'], now)} ago"


def _told(line: Json) -> str:
    times = f" ({line['count']} times)" if line.get("count", 1) > 1 else ""
    rule = f" [{line['rule']}]" if line.get("rule") else ""
    return f"{line['sentence']}{times}{rule}"


def _left_out(line: Json) -> list[str]:
    """Of the choice of an offering: the others."""
    inputs = dict(line.get("inputs", {}))
    if inputs.pop("offering", None) is None:
        return []
    inputs.pop("usd_per_hour", None)
    return [f"not {name}: {why}" for name, why in inputs.items()]


def _lines(text: str, lead: str, width: int | None) -> list[str]:
    text = " ".join(clean(text).split())
    if width is None:
        return [f"{lead}{text}"]
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=" " * len(lead))
