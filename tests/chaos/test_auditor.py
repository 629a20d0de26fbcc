"""The auditor finds what it is there to find: each kind of harm is done once, on paper, and it says so."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.auditor import foreign, machines, tasks, verdict, watch
from tests.chaos.auditor.machines import Machine, Truth
from tests.chaos.auditor.tasks import judge_tasks
from tests.chaos.auditor.verdict import render, unhealed
from tests.chaos.auditor.watch import SAME_SLOT_S, UNOWNED_S, Watch
from tests.chaos.place import Place, Record, append, records

JOURNAL: list[Record] = [
    {"op": "submit", "items": ["a", "b"]},
    {"op": "accepted", "items": ["a", "b"]},
    {"op": "result", "item": "a", "outcome": "Succeeded", "token": "1"},
    {"op": "result", "item": "b", "outcome": "Succeeded", "token": "2"},
    {"op": "again", "item": "a", "outcome": "Succeeded", "token": "1"},
]
LEDGER: list[Record] = [{"item": "a", "token": "1"}, {"item": "b", "token": "2"}, {"item": "b", "token": "3"}]
PLAN: Record = {"pools": {"default/work": {"most": 2, "stable": True}, "default/churn": {"most": 1, "stable": False}}}
DONE: list[Record] = [
    {"at": 0.0, "op": "begin", "seed": 7, "profile": "everything"},
    {"at": 1.0, "op": "kill", "kind": "agent"},
    {"at": 2.0, "op": "kill", "kind": "operator"},
    {"at": 2.1, "op": "operator ended", "status": -9, "served": True},
    {"at": 3.0, "op": "healed"},
    {"at": 4.0, "op": "emptied"},
    {"at": 5.0, "op": "stopped"},
]


def machine(number: int = 0, **changes: object) -> Machine:
    made = Machine(
        id=f"launch-{number}",
        pool="default/work",
        pool_uid="uid",
        node=f"node-{number}",
        name=f"work-{number}-x1y2z",
        exists=True,
        pids=[100 + number],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


# --- tasks ---------------------------------------------------------------------------------------------------------


def test_work_that_ran_twice_and_was_answered_once_is_well() -> None:
    findings = judge_tasks(JOURNAL, LEDGER)

    assert findings.violations == []
    assert (findings.submitted, findings.committed, findings.executed, findings.duplicates_executed) == (2, 2, 3, 1)


@pytest.mark.parametrize(
    ("journal", "ledger", "found"),
    [
        pytest.param(JOURNAL[:3], LEDGER, "item b was accepted and never answered", id="lost"),
        pytest.param(JOURNAL[:1], [], "item a was submitted and never answered", id="lost before it was accepted"),
        pytest.param(
            [*JOURNAL, JOURNAL[3] | {"op": "again", "token": "3"}], LEDGER, "item b has two results", id="double commit"
        ),
        pytest.param(
            [*JOURNAL[:3], JOURNAL[3] | {"token": "1"}],
            LEDGER,
            "item b has a result that no execution",
            id="cross-talk",
        ),
        pytest.param(JOURNAL, LEDGER[:1], "item b has a result that no execution", id="made up"),
        pytest.param(
            JOURNAL, [*LEDGER, {"item": "c", "token": "4"}], "item c was executed and never", id="not accepted"
        ),
        pytest.param(
            [*JOURNAL[:3], JOURNAL[3] | {"outcome": "DeadLetter"}], LEDGER, "item b ended as DeadLetter", id="given up"
        ),
    ],
)
def test_harm_to_work_is_found(journal: list[Record], ledger: list[Record], found: str) -> None:
    assert any(found in violation for violation in judge_tasks(journal, ledger).violations)


# --- machines ------------------------------------------------------------------------------------------------------


def test_an_orderly_replacement_is_well() -> None:
    watching = Watch()
    watching.look([machine(0), machine(1)], PLAN, 1.0)
    watching.look([machine(0), machine(1, is_leaving=True), machine(2, name="work-1-new")], PLAN, 2.0)
    watching.look([machine(0), machine(2, name="work-1-new")], PLAN, 3.0)

    assert watching.violations == []
    assert watching.unowned_s == 0.0


@pytest.mark.parametrize(
    ("seen", "lasts_s", "found"),
    [
        pytest.param([machine(exists=False)], UNOWNED_S, "outlived it", id="processes without their machine"),
        pytest.param(
            [machine(0), machine(1, name="work-0-other")], SAME_SLOT_S, "both work in slot work-0", id="one slot twice"
        ),
        pytest.param([machine(0), machine(1, node="node-0")], 0.0, "both made for node", id="one node twice"),
        pytest.param([machine(n) for n in range(7)], 0.0, "more than 6 machines", id="runaway"),
        pytest.param([machine(0), machine(1, pool_uid="new")], 0.0, "never deleted and yet made anew", id="torn down"),
        pytest.param(
            [machine(0, pool="default/churn"), machine(1, pool="default/churn", pool_uid="new")],
            UNOWNED_S,
            "belongs to an earlier pool",
            id="a machine of a pool that was made anew",
        ),
    ],
)
def test_harm_to_machines_is_found_once_it_lasts(seen: list[Machine], lasts_s: float, found: str) -> None:
    watching = Watch()
    watching.look(seen, PLAN, 1.0)
    if lasts_s:
        assert watching.violations == []

    watching.look(seen, PLAN, 1.0 + lasts_s + 0.1)

    assert any(found in violation for violation in watching.violations)


def test_a_pool_at_rest_has_its_machines_in_slots_of_their_own() -> None:
    wanted = {"default/work": 2}

    assert unhealed([machine(0), machine(1)], wanted) == []
    assert unhealed([machine(0)], wanted)
    assert unhealed([machine(0), machine(1, pids=[])], wanted), "a machine on which nothing runs is none"
    assert unhealed([machine(0), machine(1, name="work-0-other")], wanted)


def test_machines_are_seen_on_the_disk_and_among_the_processes(tmp_path: Path) -> None:
    place = Place(tmp_path / "a run")
    directory = place.nodes / "launch-0"
    (directory / "home").mkdir(parents=True)
    (directory / "instance.json").write_text('{"pool": "default/work", "pool_uid": "uid"}')
    (place.nodes / "theirs").mkdir()
    (place.nodes / ".tmp-launch-1").mkdir()
    truth = Truth(place, frozenset({"theirs"}))
    environment = {"SKYWARD_INSTANCE": "launch-0", "HOME": str(directory / "home")}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)
    try:
        [seen] = truth.look()
        assert (seen.id, seen.pool, seen.exists, seen.pids) == ("launch-0", "default/work", True, [process.pid])

        (directory / "instance.json").unlink()
        (directory / "home").rmdir()
        directory.rmdir()
        [seen] = truth.look()
        assert (seen.exists, seen.pids) == (False, [process.pid])
    finally:
        process.communicate(b"\n")

    assert truth.look() == []
    assert truth.half_made() == [str(place.nodes / ".tmp-launch-1")]
    assert [record["op"] for record in records(place.truth)] == ["born", "gone"]


def test_what_is_not_ours_is_missed_when_it_is_gone_or_changed(tmp_path: Path) -> None:
    for name in ("kept", "changed", "removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_text("x")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    planted = {"directories": [str(path) for path in tmp_path.iterdir()], "processes": [process.pid]}
    watched = foreign.Foreign(planted)
    assert watched.harmed() == []

    (tmp_path / "changed" / "data").write_text("y")
    (tmp_path / "removed" / "data").unlink()
    process.communicate(b"\n")

    assert sorted(watched.harmed()) == sorted([f"{tmp_path}/changed", f"{tmp_path}/removed", f"process {process.pid}"])


# --- the verdict ---------------------------------------------------------------------------------------------------


def test_a_clean_run_has_counts_and_no_violations() -> None:
    found = render(DONE, judge_tasks(JOURNAL, LEDGER), [], [], [])

    assert found["violations"] == []
    assert (found["seed"], found["seconds"], found["kills"]) == (7, 5.0, {"agent": 1, "operator": 1})


@pytest.mark.parametrize(
    ("actions", "leaked", "harmed", "found"),
    [
        pytest.param(DONE, ["machine m"], [], "left over at the end: machine m", id="leak"),
        pytest.param(DONE, [], ["/theirs"], "not ours, and harmed: /theirs", id="foreign"),
        pytest.param(DONE[:4], [], [], "did not become ready again", id="broken off"),
        pytest.param(
            [*DONE[:4], {"at": 9.0, "op": "gave up", "what": "not ready", "after_s": 60.0, "seen": "1 of 2"}],
            [],
            [],
            "not ready, even 60 s after",
            id="not healed",
        ),
        pytest.param(
            [*DONE, {"at": 9.0, "op": "operator ended", "status": 1, "served": True}],
            [],
            [],
            "ended by itself with status 1",
            id="the operator fell over",
        ),
    ],
)
def test_an_end_that_is_not_well_is_a_violation(
    actions: list[Record], leaked: list[str], harmed: list[str], found: str
) -> None:
    violations = render(actions, judge_tasks(JOURNAL, LEDGER), [], leaked, harmed)["violations"]

    assert any(found in violation for violation in violations)


# --- its independence ----------------------------------------------------------------------------------------------


def test_the_auditor_imports_the_standard_library_alone() -> None:
    own = {"tests.chaos.place", *(m.__name__ for m in (foreign, machines, tasks, verdict, watch))}
    directory = Path(watch.__file__).parent
    for file in (*directory.glob("*.py"), directory.parent / "place.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strange = [n for n in names if n not in own and n.partition(".")[0] not in sys.stdlib_module_names]
            assert not strange, f"{file.name} imports {strange}"


def test_a_torn_down_writer_leaves_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    written = [append(file, "op", number=number) for number in range(3)]

    assert records(file) == written
    assert records(tmp_path / "none.jsonl") == []
