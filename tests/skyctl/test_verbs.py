"""Each verb against a real API server."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from skyward.api import (
    Event,
    Node,
    NodeCondition,
    Phase,
    Pool,
    PoolCondition,
    Reason,
    Status,
    TaskPhase,
    set_condition,
    to_time,
)
from skyward.kit.recorder import record_event
from skyward_agent.wire.messages import Output
from tests.apiserver.standins import NOW, World
from tests.builders import make_node, make_pool
from tests.skyctl.conftest import Skyctl

MANIFEST = """\
# two nodes
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: hello, labels: {team: x}}
spec: {nodes: 2, provider: local}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "hello.yaml"
    path.write_text(MANIFEST)
    return path


def make_ready(pool: Pool, *, stalled: bool = False) -> Pool:
    type_ = PoolCondition.STALLED if stalled else PoolCondition.READY
    conditions = set_condition(
        pool.status.conditions, type_, Status.TRUE, Reason.AS_DESIRED, "All is well.", now=to_time(NOW)
    )
    return pool.replace(status=pool.status.replace(conditions=conditions, observed_generation=pool.metadata.generation))


# --- apply, diff, validate ---------------------------------------------------------------------------------------------


def test_apply_says_created_unchanged_and_configured(world: World, skyctl: Skyctl, manifest: Path) -> None:
    first = skyctl("apply", "-f", manifest)
    second = skyctl("apply", "-f", manifest)
    manifest.write_text(MANIFEST.replace("nodes: 2", "nodes: 3"))
    third = skyctl("apply", "-f", manifest.parent / "hello.yaml")

    assert [done.out.split()[-1] for done in (first, second, third)] == ["created", "unchanged", "configured"]
    assert len(world.writer.written) == 2
    assert world.get(Pool, "default/hello").spec.nodes == 3


def test_apply_reads_stdin_and_directories_and_places_them_by_n(
    world: World, skyctl: Skyctl, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = manifest.parent / "all"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.yaml").write_text(MANIFEST.replace("hello", "a") + "---\n" + MANIFEST.replace("hello", "b"))
    (folder / ".hidden.yaml").write_text("{")
    with manifest.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        assert skyctl("apply", "-f", "-").out == "pool.skyward.dev/hello created\n"

    assert skyctl("apply", "-f", folder, "-n", "team").status == 0
    assert world.get(Pool, "team/a") is not None
    assert world.get(Pool, "team/b") is not None


def test_apply_with_a_broken_document_changes_nothing(world: World, skyctl: Skyctl, manifest: Path) -> None:
    manifest.write_text(MANIFEST + "---\n" + MANIFEST.replace("hello", "b").replace("nodes: 2", "nodes: -2"))

    done = skyctl("apply", "-f", manifest)

    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert f"error: {manifest}:11: spec.nodes: " in done.err
    assert not world.store.log


def test_a_server_dry_run_stores_nothing(world: World, skyctl: Skyctl, manifest: Path) -> None:
    assert skyctl("apply", "-f", manifest, "--dry-run=server").out.endswith("created (server dry run)\n")
    assert not world.store.log


def test_apply_keeps_annotations_that_others_made(world: World, skyctl: Skyctl, manifest: Path) -> None:
    world.put(make_pool(annotations={"skyward.dev/restarted-at": "now"}))

    skyctl("apply", "-f", manifest)

    meta = world.get(Pool, "default/hello").metadata
    assert (meta.annotations, meta.labels) == ({"skyward.dev/restarted-at": "now"}, {"team": "x"})


def test_diff_tells_by_its_exit_status(skyctl: Skyctl, manifest: Path) -> None:
    new = skyctl("diff", "-f", manifest)
    skyctl("apply", "-f", manifest)
    same = skyctl("diff", "-f", manifest)
    manifest.write_text(MANIFEST.replace("nodes: 2", "nodes: 3"))
    changed = skyctl("diff", "-f", manifest)
    manifest.write_text("{")
    broken = skyctl("diff", "-f", manifest)

    assert [done.status for done in (new, same, changed, broken)] == [1, 0, 1, 2]
    assert same.out == ""
    assert "-  nodes: 2" in changed.out
    assert "+  nodes: 3" in changed.out


def test_validate_is_offline_and_names_every_line(
    skyctl: Skyctl, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKYWARD_CONFIG", "/nowhere")
    good = skyctl("validate", "-f", manifest)
    manifest.write_text(MANIFEST.replace("nodes: 2", "nodez: 2") + "---\n" + MANIFEST.replace("Pool", "Pond"))
    bad = skyctl("validate", "-f", manifest)
    manifest.write_text(MANIFEST + "---\n" + MANIFEST)
    twice = skyctl("validate", "-f", manifest)

    assert (good.status, good.out) == (0, "ok: 1 pool in 1 file\n")
    assert bad.status == 1
    assert all(line.startswith(f"{manifest}:") for line in bad.out.splitlines())
    assert "nodez" in bad.out
    assert "declared here and at" in twice.out


# --- get, describe, events, logs ------------------------------------------------------------------------------------------


def test_get_prints_the_servers_table(world: World, skyctl: Skyctl) -> None:
    pool = make_ready(make_pool())
    world.put(pool)
    world.put(make_node(pool))
    world.put(make_pool("far", namespace="team"))

    table = skyctl("get", "pools").out.splitlines()
    everywhere = skyctl("get", "pools", "-A", "-o", "wide").out.splitlines()

    assert table[0].split() == ["NAME", "NODES", "READY", "PROVIDER", "ACCELERATOR", "$/H", "STATUS", "AGE"]
    assert table[1].split()[:7] == ["hello", "2", "0", "local", "-", "0", "Ready"]
    assert everywhere[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert everywhere[0].split()[-1] == "REVISION"
    assert [line.split()[0] for line in everywhere[1:]] == ["default", "team"]
    assert skyctl("get", "pools,nodes", "--no-headers").out.count("hello") == 3
    assert skyctl("get", "sn/hello-0-n0000", "-o", "name").out == "node.skyward.dev/hello-0-n0000\n"


def test_get_yaml_and_json_are_the_object(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())

    body = json.loads(skyctl("get", "pool", "hello", "-o", "json").out)
    yaml = skyctl("get", "pool/hello", "-o", "yaml").out
    items = json.loads(skyctl("get", "pools", "-o", "json").out)

    assert (body["kind"], items["kind"], len(items["items"])) == ("Pool", "List", 1)
    assert "\n  nodes: 2\n" in yaml


def test_get_shows_what_there_is_and_names_what_is_missing(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())

    table = skyctl("get", "pools", "none", "hello")
    names = skyctl("get", "pool/none", "pool/hello", "-o", "name")

    assert (table.status, names.status) == (1, 1)
    assert table.out.splitlines()[1].startswith("hello")
    assert names.out == "pool.skyward.dev/hello\n"
    assert table.err == names.err == 'error: pools.skyward.dev "none" not found\n'


def test_get_all_is_what_a_user_looks_after(world: World, skyctl: Skyctl) -> None:
    pool = world.put(make_pool())
    world.put(make_node(pool))

    assert skyctl("get", "all", "-o", "name").out.splitlines() == [
        "pool.skyward.dev/hello",
        "node.skyward.dev/hello-0-n0000",
    ]


def test_get_of_nothing_is_no_error(skyctl: Skyctl) -> None:
    done = skyctl("get", "pools", "-n", "empty")

    assert (done.status, done.out, done.err) == (0, "", "No pools found in namespace empty.\n")


def test_describe_shows_conditions_phases_failure_and_events(world: World, skyctl: Skyctl) -> None:
    pool = world.put(make_ready(make_pool()))
    conditions = set_condition((), NodeCondition.LAUNCHED, Status.TRUE, Reason.LAUNCHED, now=to_time(NOW))
    node: Node = make_node(pool, conditions=conditions, phases=(Phase(name="python", seconds=1.25),))
    node = world.put(node.replace(status=node.status.replace(failure="step pip failed:\n\x1b[31mno such package\x07")))
    world.do(
        world.store.run(
            lambda tx: record_event(tx, node, Reason.BOOTSTRAP_FAILED, "pip failed.", now=NOW, warning=True)
        )
    )

    page = skyctl("describe", "node", node.metadata.name)
    of_pool = skyctl("describe", "pool", "hello").out

    for text in ("python", "1.25", "Launched", "no such package", "BootstrapFailed", "pip failed."):
        assert text in page.out
    assert "\x1b" not in page.out
    assert "All is well." in of_pool
    assert node.metadata.name in of_pool
    assert page.status == 0


def test_describe_begins_with_the_status_and_its_reason_and_sorts_conditions(world: World, skyctl: Skyctl) -> None:
    pool = make_ready(make_pool(), stalled=True)
    conditions = set_condition(
        pool.status.conditions, PoolCondition.ACCEPTED, Status.TRUE, Reason.MANIFEST_ACCEPTED, now=to_time(NOW)
    )
    world.put(pool.replace(status=pool.status.replace(conditions=conditions)))

    page = skyctl("describe", "pool", "hello").out

    assert "\nStatus:        Stalled\nBecause:       All is well.\n" in page
    assert page.index("  Accepted ") < page.index("  Stalled ")
    assert "faults" not in page


def test_describe_of_an_object_that_is_gone_tells_what_happened_to_it(world: World, skyctl: Skyctl) -> None:
    node = make_node(make_pool())
    world.do(world.store.run(lambda tx: record_event(tx, node, Reason.NODE_LOST, "its host burned", now=NOW)))

    done = skyctl("describe", "node", node.metadata.name)

    assert done.status == 1
    assert done.err == f'error: nodes.skyward.dev "{node.metadata.name}" not found\n'
    assert "its host burned" in done.out


def test_describe_lays_out_lists_and_text_of_several_lines(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool(image={"pip": ["numpy"], "setup": ["echo a\necho b\n"]}))

    page = skyctl("describe", "pool", "hello").out

    assert "  image:\n    pip:\n      packages:\n        - numpy\n" in page
    assert "    setup:\n      - run:\n          echo a\n          echo b\n        timeout: 10m\n" in page


def test_events_of_one_object(world: World, skyctl: Skyctl) -> None:
    for name in ("hello", "other"):
        pool = world.put(make_pool(name))
        world.do(world.store.run(lambda tx, pool=pool: record_event(tx, pool, Reason.AS_DESIRED, pool.key, now=NOW)))

    done = skyctl("events", "--for", "pool/hello")

    assert "default/hello" in done.out
    assert "default/other" not in done.out
    assert len([key for key in world.store.objects if key[0] is Event]) == 2


def test_logs_of_a_task(world: World, skyctl: Skyctl) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    for sequence, text in enumerate((b"one\n", b"two\n")):
        world.write_output(Output("task-t", 0, 1, sequence, "stdout", text, node="hello-0-n0000"))

    assert skyctl("logs", "task/t").out == "one\ntwo\n"
    assert skyctl("logs", "t", "--tail", "1", "--prefix").out == "[hello-0-n0000] two\n"
    assert skyctl("logs", "-f", "t").out == "one\ntwo\n"


# --- scale, delete, wait, edit ------------------------------------------------------------------------------------------


def test_scale_takes_nodes_or_replicas(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())

    assert skyctl("scale", "pool", "hello", "--nodes", "5").out == "pool.skyward.dev/hello scaled\n"
    assert world.get(Pool, "default/hello").spec.nodes == 5
    assert skyctl("scale", "pool/hello", "--replicas=6").status == 0
    assert world.get(Pool, "default/hello").spec.nodes == 6


def test_delete_waits_until_the_pool_is_gone(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())

    def controller() -> None:
        pause = threading.Event()
        while world.get(Pool, "default/hello").metadata.deletion_timestamp is None:
            pause.wait(0.02)
        world.drop(world.get(Pool, "default/hello"))

    thread = threading.Thread(target=controller)
    thread.start()
    done = skyctl("delete", "pool", "hello")
    thread.join()

    assert (done.status, done.out) == (0, 'pool.skyward.dev "hello" deleted\n')
    assert world.get(Pool, "default/hello") is None


def test_delete_need_not_wait_and_a_task_is_cancelled(world: World, skyctl: Skyctl, manifest: Path) -> None:
    world.put(make_pool())
    world.queue.add("t")

    assert skyctl("delete", "-f", manifest, "--wait=false").status == 0
    assert skyctl("delete", "task", "t").out == 'task.skyward.dev "t" cancelled\n'
    assert world.get(Pool, "default/hello").metadata.deletion_timestamp is not None


def test_wait_for_a_condition_a_field_and_an_end(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())
    thread = threading.Timer(0.1, lambda: world.put(make_ready(make_pool())))
    thread.start()

    met = skyctl("wait", "pool/hello", "--for=condition=Ready", "--timeout=20s")

    thread.join()
    assert met.out == "pool.skyward.dev/hello condition met\n"
    assert skyctl("wait", "pool", "hello", "--for=jsonpath={.spec.nodes}=2").status == 0
    assert skyctl("wait", "pool/none", "--for=delete").status == 0


@pytest.mark.slow
def test_wait_gives_up_in_time_with_one_line(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool())

    done = skyctl("wait", "pool/hello", "--for=condition=Ready", "--timeout=1s")

    assert (done.status, done.err) == (
        1,
        "error: timed out waiting for pool.skyward.dev/hello: not condition met yet\n",
    )


def test_an_older_generations_condition_does_not_count(world: World, skyctl: Skyctl) -> None:
    pool = make_ready(make_pool())
    world.put(pool.replace(metadata=pool.metadata.replace(generation=2)))

    assert skyctl("wait", "pool/hello", "--for=condition=Ready", "--timeout=0s").status == 1


def test_edit_comes_back_with_what_is_wrong(
    world: World, skyctl: Skyctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(make_pool())
    editor = tmp_path / "editor"
    editor.write_text(
        "#!/bin/sh\n"
        'if grep -q "^# Not accepted" "$1"; then cp "$1" "$0.seen"; sed -i "s/nodes: -4/nodes: 4/" "$1"\n'
        'else sed -i "s/nodes: 2/nodes: -4/" "$1"; fi\n'
    )
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)

    done = skyctl("edit", "pool", "hello")

    assert done.out == "pool.skyward.dev/hello edited\n"
    assert world.get(Pool, "default/hello").spec.nodes == 4
    assert "spec.nodes" in (tmp_path / "editor.seen").read_text().split("apiVersion")[0]


def test_an_edit_that_changes_nothing_is_cancelled(
    world: World, skyctl: Skyctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(make_pool())
    monkeypatch.setenv("VISUAL", "true")

    assert skyctl("edit", "pool/hello").out == "Edit cancelled, no changes made.\n"


# --- about -----------------------------------------------------------------------------------------------------------------


def test_version_kubeconfig_and_api_resources(skyctl: Skyctl, config: Path) -> None:
    assert "Server Version: v1.32" in skyctl("version").out
    assert skyctl("kubeconfig").out == f"{config}\n"
    assert skyctl("kubeconfig", "--raw").out == config.read_text()
    assert [line.split()[0] for line in skyctl("api-resources").out.splitlines()] == [
        "NAME", "events", "nodes", "pools", "sources", "tasks"
    ]  # fmt: skip
