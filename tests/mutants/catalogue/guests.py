"""What only those see who come now and then: people at the API, people with strategies, lost records, lying listings, warnings."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Simulated

MUTANTS = (
    Mutant(
        "schedule-of-a-budget-ignored",
        "S15",
        (Edit("skyward.planner.budgets", "    if now < end:\n", "    if now < begun:\n"),),
        (Simulated("local", 1.0, ("slow",), ("users", "strategies"), nodes=6, hint=8),),
        "nodes are replaced in the very hour in which their users forbade it",
    ),
    Mutant(
        "protection-of-a-pool-ignored",
        "S15",
        (
            Edit(
                "skyward.planner.places",
                "is_protected=wanted.is_protected or is_asked(node.metadata.annotations, DO_NOT_DISRUPT),",
                "is_protected=is_asked(node.metadata.annotations, DO_NOT_DISRUPT),",
            ),
        ),
        (Simulated("local", 1.0, ("slow",), ("users", "strategies"), nodes=6, hint=11),),
        "a pool that somebody protected as a whole is rolled out all the same",
    ),
    Mutant(
        "retires-what-has-changed",
        "S14",
        (
            Edit(
                "skyward.controllers.pool.records",
                "    return any(not _is_unchanged(tx, node) for node in seen if node.key in aims)\n",
                "    return any(tx.get(Node, node.key) is None for node in seen if node.key in aims)\n",
            ),
        ),
        (Simulated("local", 1.0, ("slow-commit",), ("users", "hands", "strategies"), 10.0, nodes=8, hint=7),),
        "a node is replaced although its user protected it before that was written",
    ),
    Mutant(
        "warning-of-the-provider-ignored",
        "L13",
        (
            Edit(
                "skyward.planner.notices",
                "        observed.instance.notice if observed.instance is not None and "
                "observed.node.status.provider_id else None,\n",
                "        None,\n",
            ),
        ),
        (Simulated("local", 1.0, ("spot-notice",), ("users", "work", "notices"), nodes=8, hint=3),),
        "work runs until its machine is taken, although everybody was told",
    ),
    Mutant(
        "bad-host-used-again",
        "S13",
        (
            Edit(
                "skyward.planner.hosts",
                "    return tuple(sorted(host.host_id for host in market.shunned if host.provider == provider))\n",
                "    return tuple(host.host_id for host in market.shunned if host.provider == provider and not host.until)\n",
            ),
        ),
        (Simulated("local", 1.0, ("bad-host",), ("users", "health"), nodes=8),),
        "node after node is made on a host where none comes up",
    ),
    Mutant(
        "doubt-wears-out",
        "S28",
        (
            Edit(
                "skyward.controllers.trust",
                "        if doubt is not None:\n            self._clean_since.pop(provider, None)\n        elif ",
                "        if ",
            ),
        ),
        (Simulated("local", 1.0, ("slow",), ("users", "chaos", "restores"), nodes=6, hint=2),),
        "after a restart older records are taken for the newest, and unknown machines are deleted",
    ),
    Mutant(
        "gone-without-asking",
        "S6",
        (
            Edit(
                "skyward.planner.proof",
                "return Absence.UNASKED if",
                "return Absence.PROVED if",
            ),
        ),
        (Simulated("local", 1.0, ("empty-listing", "missing-page"), ("users", "lies"), nodes=8),),
        "an empty answer of a provider makes every machine a forgotten one",
    ),
    Mutant(
        "ceiling-believes-any-listing",
        "S12",
        (
            Edit(
                "skyward.controllers.limits",
                "        if launch.gone_at:\n            return False\n",
                "        if launch.gone_at or launch.instances:\n            return False\n",
            ),
        ),
        (Simulated("local", 1.0, ("empty-listing", "missing-page"), ("users", "lies", "ceilings"), nodes=8, hint=1),),
        "while a listing is empty the account is filled a second time",
    ),
    Mutant(
        "silent-start-is-waited-for",
        "L5",
        (
            Edit(
                "skyward.planner.starting",
                "    left_s = case.rules.registration_deadline_s / tries - waited_s\n",
                "    left_s = case.rules.registration_deadline_s - waited_s\n",
            ),
        ),
        (Simulated("local", 1.0, ("dies-before-home",), ("users", "births"), nodes=8),),
        "an agent that died at once costs its node the whole deadline, and then its life",
    ),
)
