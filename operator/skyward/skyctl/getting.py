"""get, events, api-resources: what is there, as the server's tables or as the objects themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import HistoryExpired, NotFound, OperatorUnreachable, UserError
from skyward.skyctl import task_items
from skyward.skyctl.kinds import EVENTS, Kind, Target, named, targets
from skyward.skyctl.options import Everywhere, Selector, Words
from skyward.skyctl.printing import TablePrinter, print_columns, print_json, print_yaml
from skyward.skyctl.reconnecting import await_operator
from skyward.skyctl.session import Session, complain, remark, say

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_FORMS = ("", "wide", "yaml", "json", "name")
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on with every change.")]


@dataclass(frozen=True, slots=True)
class Look:
    wide: bool
    with_namespace: bool
    headers: bool


def get(
    ctx: typer.Context,
    what: Words,
    output: Annotated[str, typer.Option("--output", "-o", help="wide, yaml, json or name.")] = "",
    watch: Watch = False,
    selector: Selector = None,
    everywhere: Everywhere = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Rows only.")] = False,
) -> None:
    """Show objects: get pools, get pool hello -o yaml, get nodes -A -w; get items TASK shows the items of a task."""
    if output not in _FORMS:
        raise UserError(f"-o {output}: there is wide, yaml, json and name")
    session = Session.of(ctx)
    if what[0] in task_items.WORDS:
        _get_items(session, what[1:], output, headers=not no_headers, asked_more=watch or everywhere or bool(selector))
        return
    chosen = targets(what)
    if selector and any(name for _, name in chosen):
        raise UserError("-l and names exclude each other; give one of them")
    if watch and len(chosen) != 1:
        raise UserError("-w watches one kind, or one object")
    with session.client() as client:
        namespace = None if everywhere else session.namespace()
        if everywhere and any(name for _, name in chosen):
            raise UserError("-A and names exclude each other: a name is looked up in one namespace (-n)")
        if output in ("yaml", "json", "name"):
            if watch:
                _watch_objects(client, chosen[0], namespace, selector, output)
            is_complete = _show_objects(client, chosen, namespace, selector, output)
        elif watch:
            printer = TablePrinter(wide=output == "wide", with_namespace=everywhere, headers=not no_headers)
            _show_table(client, printer, chosen[0], namespace, selector, watch=True)
            return
        else:
            look = Look(wide=output == "wide", with_namespace=everywhere, headers=not no_headers)
            is_complete = _show_tables(client, chosen, namespace, selector, look)
    if not is_complete:
        raise typer.Exit(1)


def _get_items(session: Session, tasks: list[str], form: str, *, headers: bool, asked_more: bool) -> None:
    if asked_more:
        raise UserError("items belong to one task: leave -w, -A and -l out")
    with session.client() as client:
        task_items.show(client, session.namespace(), tasks, form, headers=headers)


def events(
    ctx: typer.Context,
    about: Annotated[str | None, typer.Option("--for", metavar="KIND/NAME", help="Events of this object.")] = None,
    watch: Watch = False,
    everywhere: Everywhere = False,
) -> None:
    """What happened, and why."""
    session = Session.of(ctx)
    fields = None
    if about:
        ((kind, name),) = named([about])
        fields = f"regarding.kind={kind.kind},regarding.name={name}"
    with session.client() as client:
        namespace = None if everywhere else session.namespace()
        printer = TablePrinter(wide=False, with_namespace=everywhere)
        _show_table(client, printer, (EVENTS, None), namespace, None, watch=watch, fields=fields)


def api_resources(ctx: typer.Context) -> None:
    """The kinds that the operator serves."""
    with Session.of(ctx).client() as client:
        kinds = [kind for kind in client.resources()["resources"] if "/" not in kind["name"]]
    rows = [
        (kind["name"], ",".join(kind.get("shortNames") or ()), kind["kind"], ",".join(kind["verbs"])) for kind in kinds
    ]
    print_columns([("NAME", "SHORTNAMES", "KIND", "VERBS"), *sorted(rows)])


def _show_table(
    client: ObjectClient,
    printer: TablePrinter,
    target: Target,
    namespace: str | None,
    selector: str | None,
    *,
    watch: bool,
    fields: str | None = None,
) -> None:
    kind, name = target
    table = client.table(kind.plural, namespace, name, selector, fields)
    if table.get("rows") or watch:
        printer.show(table)
    else:
        complain_nothing(kind, namespace)
    version = table["metadata"]["resourceVersion"]
    while watch:
        try:
            for type_, change in client.watch(
                kind.plural,
                namespace,
                name=name,
                resource_version=version,
                label_selector=selector,
                field_selector=fields,
                as_table=True,
            ):
                printer.show(change, is_gone=type_ == "DELETED" and not selector)
                version = change["metadata"]["resourceVersion"] or version
        except HistoryExpired:
            table = client.table(kind.plural, namespace, name, selector, fields)
            printer.show(table)
            version = table["metadata"]["resourceVersion"]
        except OperatorUnreachable as error:
            await_operator(client, error)


def _show_tables(
    client: ObjectClient, chosen: list[Target], namespace: str | None, selector: str | None, look: Look
) -> bool:
    """One table for each kind, with the rows of all that was named of it. False when something that was named is missing."""
    missing: list[NotFound] = []
    shown = 0
    for kind, names in _by_kind(chosen).items():
        table: Json | None = None
        for name in names:
            try:
                found = client.table(kind.plural, namespace, name, selector)
            except NotFound as error:
                missing.append(error)
                continue
            table = found if table is None else {**table, "rows": [*table["rows"], *found["rows"]]}
        if table is None:
            continue
        if not table.get("rows"):
            complain_nothing(kind, namespace)
            continue
        if shown:
            say("")
        TablePrinter(wide=look.wide, with_namespace=look.with_namespace, headers=look.headers).show(table)
        shown += 1
    for absent in missing:
        complain(str(absent))
    return not missing


def _by_kind(chosen: list[Target]) -> dict[Kind, list[str | None]]:
    found: dict[Kind, list[str | None]] = {}
    for kind, name in chosen:
        found.setdefault(kind, []).append(name)
    return found


def complain_nothing(kind: Kind, namespace: str | None) -> None:
    """Like kubectl: nothing found is said on stderr and is no error."""
    remark(f"No {kind.plural} found{f' in namespace {namespace}' if namespace else ''}.")


def _show_objects(
    client: ObjectClient, chosen: list[Target], namespace: str | None, selector: str | None, form: str
) -> bool:
    """False when something that was named is missing; the others are shown."""
    items: list[Json] = []
    missing: list[NotFound] = []
    for kind, name in chosen:
        if name is None:
            items += client.list(kind.plural, namespace, selector)["items"]
            continue
        try:
            items.append(client.get(kind.plural, namespace or "default", name))
        except NotFound as error:
            missing.append(error)
    if form == "name":
        for item in items:
            _print_object(item, form)
    elif items or not missing:
        single = len(items) == 1 and chosen[0][1] is not None
        _print_object(items[0] if single else {"apiVersion": "v1", "kind": "List", "items": items}, form)
    for absent in missing:
        complain(str(absent))
    return not missing


def _watch_objects(
    client: ObjectClient, target: Target, namespace: str | None, selector: str | None, form: str
) -> None:
    """Each object as it is now, then each again whenever it changes."""
    kind, name = target
    fields = f"metadata.name={name}" if name else None
    version = ""
    while True:
        try:
            if not version:
                found = client.list(kind.plural, namespace, selector, fields)
                version = found["metadata"]["resourceVersion"]
                if name and not found["items"]:
                    raise NotFound(f'{kind.plural}.skyward.dev "{name}" not found')
                for item in found["items"]:
                    _print_change(item, form)
            for _, item in client.watch(
                kind.plural, namespace, name=name, resource_version=version, label_selector=selector
            ):
                _print_change(item, form)
                version = item["metadata"]["resourceVersion"]
        except HistoryExpired:
            version = ""
        except OperatorUnreachable as error:
            await_operator(client, error)


def _print_change(body: Json, form: str) -> None:
    if form == "yaml":
        say("---")
    _print_object(body, form)


def _print_object(body: Json, form: str) -> None:
    if form == "yaml":
        print_yaml(body)
    elif form == "json":
        print_json(body)
    else:
        say(f"{body['kind'].lower()}.skyward.dev/{body['metadata']['name']}")
