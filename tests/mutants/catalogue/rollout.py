"""Replacing by choice: budgets, surge, canaries, protection."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws

_ROLLOUT = "skyward.planner.rollout"
_REPLACING = "skyward.planner.replacing"

MUTANTS = (
    Mutant(
        "budget-off",
        "S15",
        (
            Edit(
                _REPLACING,
                "return inf if self.budget.nodes is None else max(0, self.budget.nodes - self.leaving)",
                "return inf",
            ),
            Edit(
                _REPLACING,
                "return floor if self.budget.nodes is None else max(floor, self.limits.nodes - self.budget.nodes)",
                "return floor",
            ),
        ),
        (Laws("pool", 157),),
        "a roll-out takes more nodes than its users allowed",
    ),
    Mutant(
        "surge-exceeded",
        "S1",
        (
            Edit(
                _ROLLOUT,
                "extra = min(rollout.limits.nodes - staying, rollout.most(standing) - len(standing)) - fill",
                "extra = rollout.limits.nodes - staying - fill",
            ),
        ),
        (Laws("pool", 180),),
        "a roll-out buys the whole pool a second time",
    ),
    Mutant(
        "drain-before-launch",
        "S15",
        (Edit(_REPLACING, "floor = self.limits.nodes if self.limits.surge else self.limits.floor", "floor = 0"),),
        (Laws("pool", 27),),
        "old nodes go before new ones serve",
    ),
    Mutant(
        "one-slot-twice",
        "S1",
        (Edit(_ROLLOUT, "    taken = {member.slot for member in standing}\n", "    taken = {len(standing)}\n"),),
        (Laws(),),
        "two nodes in one slot",
    ),
    Mutant(
        "protection-ignored",
        "S15",
        (
            Edit(
                _REPLACING, "        if member.is_protected:\n", "        if member.is_protected and self.now < 0.0:\n"
            ),
        ),
        (Laws("pool", 66),),
        "the node that somebody is debugging on is replaced",
    ),
    Mutant(
        "on-delete-ignored",
        "S15",
        (
            Edit(
                _REPLACING, 'if self.spec.rollout.strategy == "OnDelete":', 'if self.spec.rollout.strategy == "Never":'
            ),
        ),
        (Laws("pool", 33),),
        "nodes that only their user may replace are replaced",
    ),
    Mutant(
        "begins-too-early",
        "S15",
        (Edit(_REPLACING, "return at if at is not None and at > self.now else None", "return None"),),
        (Laws("pool", 5),),
        "a roll-out that was set for the night runs at noon",
    ),
    Mutant(
        "canaries-place-not-counted",
        "S15",
        (
            Edit(
                "skyward.planner.replacing",
                "free = max(0, self.most(standing) - len(standing))",
                "free = max(0, self.limits.nodes - len(standing))",
            ),
        ),
        (Laws("pool", 40962),),
        "while a canary waits to be made one old node after the other gives way to it",
    ),
    Mutant(
        "canary-ignored",
        "S15",
        (Edit(_REPLACING, "return None if missing is None else max(0, missing - free)", "return None"),),
        (Laws("pool", 64),),
        "a broken template takes the whole pool instead of its canary",
    ),
    Mutant(
        "two-templates-at-once",
        "S15",
        (
            Edit(
                _ROLLOUT,
                "if rollout.recreates and (rollout.leaving or rollout.rolling):",
                "if rollout.recreates and rollout.now < 0.0:",
            ),
        ),
        (Laws("pool", 41),),
        "Recreate mixes old and new nodes",
    ),
    Mutant(
        "failing-template-goes-on",
        "S15",
        (Edit(_REPLACING, "if self.failures.stopped or not self.rolling:", "if not self.rolling:"),),
        (Laws("pool", 279),),
        "working nodes are given up for a template that never worked",
    ),
    Mutant(
        "layout-changes-the-hash",
        "S16",
        (Edit("skyward.api.pool", "json.dumps(template, sort_keys=True,", "json.dumps(template,"),),
        (Laws("template"),),
        "sorting the keys of a manifest replaces every node",
    ),
    Mutant(
        "written-defaults-change-the-hash",
        "S16",
        (
            Edit(
                "skyward.api.pool",
                "include=REPLACE_FIELDS, exclude_defaults=True",
                "include=REPLACE_FIELDS, exclude_unset=True",
            ),
        ),
        (Laws("template"),),
        "writing down what holds anyway replaces every node",
    ),
    Mutant(
        "scaling-changes-the-hash",
        "S16",
        (
            Edit(
                "skyward.api.pool",
                "include=REPLACE_FIELDS, exclude_defaults=True",
                "exclude={'x'}, exclude_defaults=True",
            ),
        ),
        (Laws("template"),),
        "one node more replaces all that are there",
    ),
    Mutant(
        "plan-depends-on-order",
        "S14",
        (
            Edit(
                "skyward.planner.places",
                "return tuple(sorted(members, key=lambda member: (member.slot, member.key)))",
                "return members",
            ),
        ),
        (Laws("pool", 7),),
        "the same world is planned differently in another process",
    ),
)
