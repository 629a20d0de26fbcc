"""No network inside a transaction: what is handed to the store cannot wait for anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOM = Path(__file__).parents[2] / "operator" / "skyward"
TRANSACTIONS = {"Transaction", "SqlTransaction", "TaskRows", "SqlTaskRows"}


def test_nothing_that_takes_a_transaction_can_wait() -> None:
    waiting = [
        f"{path.relative_to(ROOM)}: {function.name}"
        for path in ROOM.rglob("*.py")
        for function in _async_functions(ast.parse(path.read_text()))
        if _parameters(function) & TRANSACTIONS
    ]

    assert waiting == []


def test_the_store_reaches_no_network() -> None:
    reachable = {"httpx", "aiohttp", "asyncssh", "aioboto3", "socketserver", "urllib.request"}
    imported = {
        name
        for path in (ROOM / "store").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
    }

    assert imported & reachable == set()


def _async_functions(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))


def _parameters(function: ast.AsyncFunctionDef) -> set[str]:
    """The types of its parameters, where they are plain names."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return {one.annotation.id for one in arguments if isinstance(one.annotation, ast.Name)}


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
