"""All mutants, by what they break."""

from tests.mutants.catalogue import delete, desire, guards, guests, launch, leadership, observe, rollout, tasks
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *launch.MUTANTS,
    *observe.MUTANTS,
    *delete.MUTANTS,
    *guards.MUTANTS,
    *guests.MUTANTS,
    *rollout.MUTANTS,
    *desire.MUTANTS,
    *leadership.MUTANTS,
    *tasks.MUTANTS,
)
