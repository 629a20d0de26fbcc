"""The scale subresource: `spec.nodes` as autoscaling/v1 knows it."""

from __future__ import annotations

from skyward.api import POOL_LABEL, Json, Pool
from skyward.apiserver.asking import Edit, member
from skyward.errors import Invalid


def scale_of(pool: Pool) -> Json:
    return _scale(pool.to_json())


def rescaled(edit: Edit) -> Edit:
    """An edit of the scale as an edit of its pool."""

    def apply(pool: Json) -> Json:
        replicas = member(edit.apply(_scale(pool)), "spec").get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            raise Invalid(
                f"spec.replicas: {replicas!r} is not a number of nodes",
                (("spec.replicas", f"Invalid value: {replicas!r}: must be a whole number, 0 or more"),),
            )
        return {**pool, "spec": {**pool["spec"], "nodes": replicas}}

    return Edit(apply, edit.pinned)


def _scale(pool: Json) -> Json:
    meta = pool["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": pool["spec"]["nodes"]},
        "status": {"replicas": pool["status"]["nodes"], "selector": f"{POOL_LABEL}={meta['name']}"},
    }
