"""Real kubectl against the server: what users of Kubernetes already know must work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from skyward.api import Pool, PoolCondition, Reason, Status, set_condition, to_time
from skyward.client.config import render_config
from skyward.kit.recorder import record_event
from tests.apiserver.standins import NOW, World
from tests.builders import make_node, make_pool

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: these rows need the real one"),
    pytest.mark.slow,
]
Kubectl = Callable[..., subprocess.CompletedProcess[str]]
MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: hello, labels: {team: x}}
spec: {nodes: 2, provider: local}
"""


@pytest.fixture
def kubectl(world: World, tmp_path: Path) -> Kubectl:
    config = tmp_path / "config"
    config.write_text(render_config(world.config(config)))
    config.chmod(0o600)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KUBECONFIG": str(config),
        "KUBECACHEDIR": str(tmp_path),
    }

    def run(*argv: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        assert KUBECTL is not None
        return subprocess.run(
            [KUBECTL, *argv], input=text, capture_output=True, text=True, env=environ, timeout=60, check=False
        )

    return run


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def ready(pool: Pool) -> Pool:
    conditions = set_condition(
        pool.status.conditions,
        PoolCondition.READY,
        Status.TRUE,
        Reason.AS_DESIRED,
        now=to_time(NOW),
        observed_generation=pool.metadata.generation,
    )
    return pool.replace(status=pool.status.replace(conditions=conditions, observed_generation=pool.metadata.generation))


def test_kubectl_lists_and_shows(world: World, kubectl: Kubectl) -> None:
    pool = ready(make_pool())
    world.put(pool)
    world.put(make_node(pool))
    world.queue.add("square-abcde")

    table = succeed(kubectl("get", "pools"))
    wide = succeed(kubectl("get", "pool", "hello", "-o", "wide"))
    yaml = succeed(kubectl("get", "pool/hello", "-o", "yaml"))
    names = succeed(kubectl("get", "sn,tasks", "-A", "-o", "name"))

    assert table.split("\n")[0].split() == ["NAME", "NODES", "READY", "PROVIDER", "ACCELERATOR", "$/H", "STATUS", "AGE"]
    assert "Ready" in table
    assert "REVISION" in wide
    assert "kind: Pool" in yaml
    assert names.split() == ["node.skyward.dev/hello-0-n0000", "task.skyward.dev/square-abcde"]
    assert "pool.skyward.dev/hello" in succeed(kubectl("get", "all"))
    assert "hello" in succeed(kubectl("get", "pools", "--sort-by=.spec.nodes"))
    assert succeed(kubectl("get", "pool", "hello", "-o", "jsonpath={.spec.nodes}")) == "2"


def test_kubectl_errors_are_readable(kubectl: Kubectl) -> None:
    missing = kubectl("get", "pool", "none")
    selector = kubectl("get", "pools", "--field-selector", "spec.nodes=2")

    assert missing.stderr == 'Error from server (NotFound): pools.skyward.dev "none" not found\n'
    assert "field label not supported: spec.nodes" in selector.stderr


def test_kubectl_applies_edits_and_diffs(world: World, kubectl: Kubectl) -> None:
    created = succeed(kubectl("apply", "-f", "-", text=MANIFEST))
    changed = succeed(kubectl("apply", "-f", "-", text=MANIFEST.replace("nodes: 2", "nodes: 3")))
    unvalidated = succeed(
        kubectl("apply", "--validate=false", "-f", "-", text=MANIFEST.replace("nodes: 2", "nodes: 4"))
    )
    dry = succeed(kubectl("apply", "--dry-run=server", "-f", "-", text=MANIFEST))
    refused = kubectl("apply", "-f", "-", text=MANIFEST.replace("nodes: 2", "nodes: -2"))
    nameless = kubectl("create", "-f", "-", text=MANIFEST.replace("nodes: 2", "nodes: -2").replace("hello", "other"))
    unknown = kubectl("apply", "-f", "-", text=MANIFEST.replace("kind: Pool", "kind: Pol"))
    labelled = succeed(kubectl("label", "pool", "hello", "team=y", "--overwrite"))

    assert created == "pool.skyward.dev/hello created\n"
    assert changed == unvalidated == "pool.skyward.dev/hello configured\n"
    assert "dry run" in dry
    assert "spec.nodes" in refused.stderr
    assert nameless.stderr.startswith('The pools "other" is invalid: spec.nodes: ')
    assert 'no matches for kind "Pol"' in unknown.stderr
    assert "openapi" not in unknown.stderr
    assert labelled == "pool.skyward.dev/hello labeled\n"
    stored = world.get(Pool, "default/hello")
    assert (stored.spec.nodes, stored.metadata.labels) == (4, {"team": "y"})


def test_kubectl_scales_patches_and_cordons(world: World, kubectl: Kubectl) -> None:
    pool = make_pool()
    world.put(pool)
    world.put(make_node(pool))

    succeed(kubectl("scale", "pool", "hello", "--replicas=5"))
    scaled = world.get(Pool, "default/hello").spec.nodes
    succeed(kubectl("scale", "pool", "hello", "--replicas=6", "--current-replicas=5"))
    succeed(kubectl("patch", "pool", "hello", "--type=merge", "-p", json.dumps({"spec": {"paused": True}})))
    succeed(
        kubectl("patch", "sn", "hello-0-n0000", "--type=merge", "-p", json.dumps({"spec": {"unschedulable": True}}))
    )
    default = kubectl("patch", "pool", "hello", "-p", "{}")

    stored = world.get(Pool, "default/hello")
    assert (scaled, stored.spec.nodes, stored.spec.paused) == (5, 6, True)
    assert "Cordoned" in succeed(kubectl("get", "sn"))
    assert default.returncode == 1


def test_kubectl_describes_with_events(world: World, kubectl: Kubectl) -> None:
    pool = world.put(make_pool())
    note = "2 nodes are ready."
    world.do(world.store.run(lambda tx: record_event(tx, pool, Reason.AS_DESIRED, note, now=NOW)))

    described = succeed(kubectl("describe", "pool", "hello"))

    assert "Nodes:" in described
    assert "AsDesired" in described
    assert note in described
    assert note in succeed(kubectl("get", "events"))


def test_kubectl_waits_for_a_condition_and_for_deletion(world: World, kubectl: Kubectl) -> None:
    pool = world.put(make_pool())
    waiting: list[str] = []
    thread = threading.Thread(
        target=lambda: waiting.append(succeed(kubectl("wait", "pool/hello", "--for=condition=Ready", "--timeout=30s")))
    )
    thread.start()
    world.put(ready(pool))
    thread.join()

    deleting = threading.Thread(target=lambda: waiting.append(succeed(kubectl("delete", "pool", "hello"))))
    deleting.start()
    seen = threading.Event()
    while world.get(Pool, "default/hello").metadata.deletion_timestamp is None:
        seen.wait(0.05)
    world.drop(world.get(Pool, "default/hello"))
    deleting.join()

    assert waiting == ["pool.skyward.dev/hello condition met\n", 'pool.skyward.dev "hello" deleted\n']


def test_kubectl_watches(world: World, kubectl: Kubectl) -> None:
    world.put(make_pool())
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(kubectl("get", "pools", "-w", "--request-timeout=3s").stdout))
    thread.start()
    pause = threading.Event()
    while not world.store.followers:
        pause.wait(0.05)
    world.put(ready(world.get(Pool, "default/hello")))
    world.put(make_pool("second"))
    thread.join()

    rows = [line.split()[0] for line in seen[0].splitlines()]
    assert rows == ["NAME", "hello", "hello", "second"]


def test_kubectl_discovers_and_explains(kubectl: Kubectl) -> None:
    kinds = succeed(kubectl("api-resources", "--api-group=skyward.dev"))
    explained = succeed(kubectl("explain", "pool.spec.rollout.maxSurge"))
    version = succeed(kubectl("version"))

    assert [line.split()[0] for line in kinds.splitlines()[1:]] == ["events", "nodes", "pools", "sources", "tasks"]
    assert "above" in explained
    assert "v1.32" in version
