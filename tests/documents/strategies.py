"""Random specs as a user or an API client may write them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from skyward.api import PoolSpec

_WORDS = st.sampled_from(
    ("numpy", "scipy>=1.11", "a b", "yes", "off", "null", "1", "0644", "1e3", "it's", 'say "hi"', "x: y", "# no")
)
_TEXT = st.one_of(
    _WORDS,
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85\xad"), max_size=12),
    st.sampled_from(("echo a\necho b\n", "one\n\n  two", "tail\n\n", " lead\nx\n", "tab\tx\n", "é\U0001f600")),
)
_PATH = _TEXT.filter(lambda path: bool(path) and "/" not in path and path != "..")
_ENV = st.dictionaries(st.sampled_from(("A", "B_1", "on", "y", "PATH")), _TEXT, max_size=3)
_TIMES = st.sampled_from(("30s", "5m", "10m", "1h30m"))
_SETUP = st.lists(
    st.one_of(
        _TEXT, st.fixed_dictionaries({"run": _TEXT}, optional={"name": _TEXT, "unless": _TEXT, "timeout": _TIMES})
    ),
    max_size=4,
)
_PIP = st.one_of(
    st.lists(_TEXT, max_size=4),
    st.fixed_dictionaries(
        {}, optional={"packages": st.lists(_TEXT, max_size=3), "indexUrl": st.just("https://x.example/simple")}
    ),
)
_IMAGE = st.fixed_dictionaries(
    {},
    optional={
        "python": st.sampled_from(("3.11", "3.12")),
        "pip": _PIP,
        "env": _ENV,
        "setup": _SETUP,
        "requirements": _TEXT,
        "files": st.lists(st.fixed_dictionaries({"path": _PATH, "content": _TEXT}), max_size=2),
    },
)
_PLACES = st.one_of(
    st.just({"provider": "local"}),
    st.just({"providers": [{"name": "local"}]}),
    st.builds(lambda weight: {"providers": [{"name": "local", "weight": weight}]}, st.integers(0, 3)),
)


def _spec(places: dict[str, Any], nodes: int, rest: dict[str, Any], nodes_first: bool) -> dict[str, Any]:
    count = {"nodes": nodes}
    return {**count, **places, **rest} if nodes_first else {**places, **rest, **count}


specs = st.builds(
    _spec,
    _PLACES,
    st.integers(0, 9),
    st.fixed_dictionaries(
        {},
        optional={
            "image": _IMAGE,
            "env": _ENV,
            "concurrency": st.one_of(st.just("auto"), st.integers(1, 4)),
            "connection": st.sampled_from(("auto", "tunnel")),
            "rollout": st.fixed_dictionaries(
                {}, optional={"maxSurge": st.sampled_from((1, "25%")), "maxUnavailable": st.just(2)}
            ),
            "drainTimeout": _TIMES,
            "orphanTimeout": st.one_of(st.just("off"), _TIMES),
            "paused": st.booleans(),
        },
    ),
    st.booleans(),
)
"""As users write them."""

full_specs = specs.map(lambda spec: PoolSpec.model_validate(spec).to_json())
"""As API clients send them back: every field, defaults included."""

labels = st.dictionaries(st.sampled_from(("team", "a.b/c", "on")), _TEXT, max_size=2)
