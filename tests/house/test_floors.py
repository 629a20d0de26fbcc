"""The floors of the house: who may import whom, which rooms are pure, and that the door is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator" / "skyward"
AGENT = ROOT / "agent" / "skyward_agent"

WORDS = {"skyward.api", "skyward.facts", "skyward.errors", "skyward_agent.wire"}
RULES = {"skyward.planner", "skyward.recipes", "skyward.documents"}
SOCKETS = {"skyward.contracts"}
MECHANISMS = {"skyward.kit", "skyward.queue"}
PLUG_ROOMS = ("market", "store", "blobs", "secrets", "intake", "bootstrap", "gateway", "apiserver", "system")
DRIVERS = ("local", "container", "ssh", "aws", "digitalocean", "vastai", "verda")
PLUGS = {f"skyward.{room}" for room in PLUG_ROOMS} | {f"skyward.drivers.{name}" for name in DRIVERS}
COMMON = {"skyward.settings", "skyward.logs"}
DOORS = {"skyward.client", "skyward.sdk", "skyward.skyctl"}

MAY_IMPORT: dict[str, set[str]] = {
    "skyward_agent.wire": set(),
    "skyward.errors": WORDS,
    "skyward.api": WORDS,
    "skyward.facts": WORDS,
    **{room: WORDS for room in RULES},
    **{room: WORDS for room in SOCKETS},
    **{room: WORDS | SOCKETS for room in MECHANISMS},
    **{room: WORDS | RULES | SOCKETS | MECHANISMS | COMMON for room in PLUGS},
    "skyward.controllers": WORDS | RULES | SOCKETS | MECHANISMS | {"skyward.logs"},
    **{room: WORDS | RULES | {"skyward.client", "skyward.settings"} for room in DOORS},
    "skyward.settings": WORDS,
    "skyward.logs": WORDS | {"skyward.settings"},
    "skyward_agent.states": {"skyward_agent.wire"},
    "skyward_agent.runner": {"skyward_agent.wire"},
    "skyward_agent.link": {"skyward_agent.wire", "skyward_agent.states"},
    "skyward_agent.sensors": {"skyward_agent.wire"},
}
PURE = RULES | {"skyward_agent.states"}
IMPURE_MODULES = {
    "time",
    "random",
    "uuid",
    "secrets",
    "logging",
    "structlog",
    "asyncio",
    "os",
    "socket",
    "threading",
    "subprocess",
}
WORD_LIBRARIES = {"cronsim", "pydantic"}


def _modules() -> Iterator[tuple[str, Path]]:
    for root in (OPERATOR, AGENT):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _room(module: str) -> str | None:
    rooms = [room for room in MAY_IMPORT if _within(module, room)]
    return max(rooms, key=len, default=None)


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize(
    ("module", "path"), list(_modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_module_imports_only_what_its_floor_allows(module: str, path: Path) -> None:
    room = _room(module)
    if room is None:
        return  # main, and the packages' own __init__
    for imported in _imports(path):
        if not imported.startswith(("skyward.", "skyward_agent")):
            continue
        target = next(
            (known for known in sorted(MAY_IMPORT, key=len, reverse=True) if _within(imported, known)), imported
        )
        assert target == room or target in MAY_IMPORT[room], f"{module} may not import {imported}"


@pytest.mark.parametrize(
    ("module", "path"), list(_modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_pure_rooms_have_no_clock_chance_or_async(module: str, path: Path) -> None:
    if _room(module) not in PURE:
        return
    for imported in _imports(path):
        assert imported.split(".")[0] not in IMPURE_MODULES, f"{module} imports {imported}"
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{module} is async"


@pytest.mark.parametrize(
    ("module", "path"), list(_modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_words_and_agent_need_few_libraries(module: str, path: Path) -> None:
    room = _room(module) or module
    if room.startswith("skyward_agent"):
        allowed = {"skyward_agent", "cloudpickle", "skyward"} if room != "skyward_agent.wire" else {"skyward_agent"}
    elif room in WORDS:
        allowed = WORD_LIBRARIES | {"skyward", "skyward_agent"}
    else:
        return
    for imported in _imports(path):
        top = imported.split(".")[0]
        assert top in sys.stdlib_module_names or top in allowed, f"{module} imports {imported}"


def test_source_roots_are_not_packages() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "it would hide the standard library's operator"
    assert not (ROOT / "agent" / "__init__.py").exists()


def test_import_skyward_is_light() -> None:
    probe = "import sys, skyward; print(*sorted(m.split('.')[0] for m in sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    )

    assert not loaded & {"sqlalchemy", "sqlmodel", "asyncssh", "aiohttp", "boto3", "typer", "rich", "alembic"}
