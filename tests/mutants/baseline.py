"""The same worlds without a mutant: a checker that complains about them proves nothing about the mutants."""

from __future__ import annotations

from collections.abc import Iterable

from tests.mutants.killing import observer
from tests.mutants.mutant import Mutant
from tests.mutants.trials import seeds_of

_WITHOUT_HINT = 1


def is_clean(mutants: Iterable[Mutant]) -> bool:
    """Every trial's first world; each world once. Says which are not clean."""
    clean = True
    for trial in dict.fromkeys(trial for mutant in mutants for trial in mutant.trials):
        look = observer(trial)
        for seed in seeds_of(trial, _WITHOUT_HINT):
            harm = look(seed)
            clean = clean and harm is None
            print(f"{trial!s:16} seed {seed:4} {'ok' if harm is None else harm.message.splitlines()[0]}", flush=True)
    return clean
