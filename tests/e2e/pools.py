"""Manifests and functions that the end-to-end tests share."""

from __future__ import annotations

from hack.operator_process import OperatorProcess


def manifest(name: str = "hello", nodes: int = 2, **fields: object) -> str:
    """A local pool; further spec fields as YAML values, written with Python's underscores as camelCase by the caller."""
    extra = "".join(f"  {field}: {value}\n" for field, value in fields.items())
    return (
        "apiVersion: skyward.dev/v1alpha1\n"
        "kind: Pool\n"
        f"metadata: {{name: {name}}}\n"
        "spec:\n"
        f"  nodes: {nodes}\n"
        "  provider: local\n"
        f"{extra}"
    )


def condition(item: dict, type_: str) -> dict:
    return next(
        (c for c in item["status"].get("conditions", []) if c["type"] == type_), {"status": "absent", "message": ""}
    )


def delete_and_check(operator: OperatorProcess, *pools: str) -> None:
    """Delete the pools through the API; nothing of theirs may be left."""
    for pool in pools:
        operator.objects.delete("pools", "default", pool)
    operator.wait_gone()
    assert operator.leftovers() == []
    assert list(operator.manifests.glob("*.yaml")) == []


def double(number: int) -> int:
    return number * 2


def slow_double(number: int) -> int:
    import time

    time.sleep(0.05)
    return number * 2


def pid_of_child() -> int:
    import os

    return os.getpid()
