"""get, events, api-resources: what is there, as the server's tables or as the objects themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from skyward.errors import HistoryExpired, UserError
from skyward.skyctl.kinds import EVENTS, Kind, Target, named, targets
from skyward.skyctl.options import Everywhere, Selector, Words
from skyward.skyctl.printing import TablePrinter, print_columns, print_json, print_yaml
from skyward.skyctl.session import Session, complain, say

if TYPE_CHECKING:
    from skyward.api import Json
    from skyward.client.objects import ObjectClient

_FORMS = ("", "wide", "yaml", "json", "name")
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on with every change.")]


def get(
    ctx: typer.Context,
    what: Words,
    output: Annotated[str, typer.Option("--output", "-o", help="wide, yaml, json or name.")] = "",
    watch: Watch = False,
    selector: Selector = None,
    everywhere: Everywhere = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Rows only.")] = False,
) -> None:
    """Show objects: get pools, get pool hello -o yaml, get nodes -A -w."""
    if output not in _FORMS:
        raise UserError(f"-o {output}: there is wide, yaml, json and name")
    session = Session.of(ctx)
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
            _show_objects(client, chosen, namespace, selector, output)
            if watch:
                _watch_objects(client, chosen[0], namespace, selector, output)
            return
        wide = output == "wide"
        for index, target in enumerate(chosen):
            if index and chosen[index - 1][0] is not target[0]:
                say("")
            merged = index > 0 and chosen[index - 1][0] is target[0]
            printer = TablePrinter(wide=wide, with_namespace=everywhere, headers=not (no_headers or merged))
            _show_table(client, printer, target, namespace, selector, watch=watch)


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
    while watch:
        version = table["metadata"]["resourceVersion"]
        try:
            stream = client.watch(
                kind.plural,
                namespace,
                name=name,
                resource_version=version,
                label_selector=selector,
                field_selector=fields,
                as_table=True,
            )
            for _, change in stream:
                printer.show(change)
                version = change["metadata"]["resourceVersion"] or version
            table["metadata"]["resourceVersion"] = version
        except HistoryExpired:
            table = client.table(kind.plural, namespace, name, selector, fields)
            printer.show(table)


def complain_nothing(kind: Kind, namespace: str | None) -> None:
    """Like kubectl: nothing found is said on stderr and is no error."""
    import sys

    place = f" in namespace {namespace}" if namespace else ""
    sys.stderr.write(f"No {kind.plural} found{place}.\n")


def _show_objects(
    client: ObjectClient, chosen: list[Target], namespace: str | None, selector: str | None, form: str
) -> None:
    items: list[Json] = []
    for kind, name in chosen:
        if name is None:
            items += client.list(kind.plural, namespace, selector)["items"]
        else:
            items.append(client.get(kind.plural, namespace or "default", name))
    if form == "name":
        for item in items:
            _print_object(item, form)
        return
    single = len(items) == 1 and chosen[0][1] is not None
    body = items[0] if single else {"apiVersion": "v1", "kind": "List", "items": items}
    _print_object(body, form)


def _watch_objects(
    client: ObjectClient, target: Target, namespace: str | None, selector: str | None, form: str
) -> None:
    kind, name = target
    version = client.list(kind.plural, namespace)["metadata"]["resourceVersion"]
    try:
        for _, item in client.watch(
            kind.plural, namespace, name=name, resource_version=version, label_selector=selector
        ):
            if form == "yaml":
                say("---")
            _print_object(item, form)
    except HistoryExpired:
        complain("too much happened to show each change; run it again")
        raise typer.Exit(1) from None


def _print_object(body: Json, form: str) -> None:
    if form == "yaml":
        print_yaml(body)
    elif form == "json":
        print_json(body)
    else:
        say(f"{body['kind'].lower()}.skyward.dev/{body['metadata']['name']}")
