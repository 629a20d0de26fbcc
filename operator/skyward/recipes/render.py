"""Steps to script."""

from __future__ import annotations

from skyward.recipes.quoting import quote
from skyward.recipes.runtime import FINISH, PREAMBLE, RUN_FUNCTIONS, STEP_FUNCTIONS
from skyward.recipes.steps import Step, chained_hashes

_HEAD = """\
#!/bin/sh
# Makes this machine a Skyward node. It may be run again at any time, and goes on where it was cut off.
"""
_TITLE_LENGTH = 60


def render(steps: tuple[Step, ...], *, python: str, env_hash: str, target: str, in_image: str) -> str:
    """One POSIX shell script. `target` may use $S and $CACHE; `in_image` is a function's body."""
    hashes = chained_hashes(steps, seed=f"{env_hash} {target}")
    variables = f'PYTHON={quote(python)}\nTARGET="{target}"\nRECIPE={hashes[-1]}\n'
    functions = [_function("in_image", in_image), *(text for step in steps for text in _functions(step))]
    return "".join(
        (_HEAD, PREAMBLE, variables, STEP_FUNCTIONS, *functions, RUN_FUNCTIONS, *_calls(steps, hashes), FINISH)
    )


def _function(name: str, body: str) -> str:
    return f"\n{name}() {{\n{body.rstrip()}\n}}\n"


def _functions(step: Step) -> list[str]:
    bodies = {"step": step.script, "unless": step.unless, "check": step.check}
    return [_function(f"{kind}_{step.function}", body) for kind, body in bodies.items() if body]


def _calls(steps: tuple[Step, ...], hashes: tuple[str, ...]) -> list[str]:
    lines = []
    waiting: list[str] = []
    for step, digest in zip(steps, hashes, strict=True):
        waiting.append(_call(step, digest))
        if step.checkpoint:
            check = f" && check_{step.function} >/dev/null 2>&1" if step.check else ""
            lines += [f"\nif is_marked {step.id}.{digest}{check}; then passed=yes; fi\n", *waiting, "passed=\n"]
            waiting = []
    return [*lines, *waiting]


def _call(step: Step, digest: str) -> str:
    flags = {"always": step.always, "check": step.check, "unless": step.unless}
    words = ",".join(name for name, is_set in flags.items() if is_set) or "-"
    title = " ".join(step.title.split())
    if len(title) > _TITLE_LENGTH:
        title = title[: _TITLE_LENGTH - 1] + "…"
    return f"step {step.id} {step.function} {digest} {step.deadline_s} {words} {quote(title)}\n"
