"""The laws of a template's hash: it changes exactly when a node would have to be replaced."""

from __future__ import annotations

from random import Random

from skyward.api import Json, PoolSpec, template_hash

_LIVE: dict[str, tuple[object, ...]] = {
    "nodes": (0, 1, 7),
    "paused": (True, False),
    "drainTimeout": ("1m", "10m"),
    "rollout": ({"maxSurge": 2}, {"strategy": "Recreate"}),
    "disruption": ({"budgets": [{"nodes": 1}]},),
}
"""Fields that a running node follows."""


def check_template(seed: int) -> None:
    random = Random(seed)
    spec = _spec(random)
    hash_ = _hash(spec)
    assert _hash(_shuffled(spec, random)) == hash_, "the order of keys means something"
    assert _hash(_spelled_out(spec)) == hash_, "a default that is written down means something"
    field = random.choice(sorted(_LIVE))
    assert _hash({**spec, field: random.choice(_LIVE[field])}) == hash_, f"{field} replaces nodes"
    assert _hash({**spec, "image": {"env": {"A": "another"}}}) != hash_, "another image is the same template"


def _spec(random: Random) -> Json:
    env = {name: str(random.randint(0, 9)) for name in random.sample("ABCDEF", random.randint(0, 5))}
    return {"nodes": random.randint(0, 5), "providers": [{"name": "local"}], "image": {"env": env}}


def _shuffled(spec: Json, random: Random) -> Json:
    def turn(value: object) -> object:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: turn(value[key]) for key in keys}

    return {key: turn(value) for key, value in reversed(spec.items())}


def _spelled_out(spec: Json) -> Json:
    plain = PoolSpec.model_validate({"nodes": 0, "providers": spec["providers"]}).model_dump(mode="json", by_alias=True)
    return {**spec, "connection": plain["connection"], "image": {**plain["image"], **spec["image"]}}


def _hash(spec: Json) -> str:
    return template_hash(PoolSpec.model_validate(spec))
