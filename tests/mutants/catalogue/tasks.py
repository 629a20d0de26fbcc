"""Tasks and agents: one result for each item, from the attempt that holds it, and nothing lost."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_ATTEMPTS = "skyward.queue.attempts"
_BOARD = "skyward.queue.board"
_OUTCOMES = "skyward.queue.outcomes"
_ROWS = "skyward.store.task_rows"
_AGENTS = "skyward.gateway.agents"
_LEAVING = "skyward.planner.leaving"
_WORK = ("users", "work", "nodes", "chaos")
_LOSSES = ("agent-crash", "agent-hang", "partition", "reboot", "duplicate-agent", "slow-commit")

MUTANTS = (
    Mutant(
        "result-of-a-superseded-attempt",
        "S34",
        (
            Edit(
                _BOARD, "held.attempt != attempt.attempt or held.node_uid != node_uid", "held.secret == str(node_uid)"
            ),
            Edit(_ATTEMPTS, "if held is not None and held.secret == report.id.secret:", "if held is not None:"),
        ),
        (Laws("queue"),),
        "a node that was given up for dead ends what another one runs now",
    ),
    Mutant(
        "an-end-ends-again",
        "S33",
        (
            Edit(
                _ROWS,
                'AND items.state = new.column3 "\n    "AND items.attempt = new.column4 AND items.secret IS new.column5"',
                '"\n    "AND new.column3 = new.column3 AND new.column4 = new.column4 AND new.column5 IS new.column5"',
            ),
        ),
        (Simulated("local", 1.0, ("slow-commit", "agent-crash"), _WORK, hint=3),),
        "a cancelled task succeeds, and a result is replaced by another one",
    ),
    Mutant(
        "cancel-spares-what-runs",
        "S41",
        (
            Edit(
                _ROWS,
                '"WHERE task = ? AND state != 2",\n            (CANCELLED',
                '"WHERE task = ? AND state = 0",\n            (CANCELLED',
            ),
        ),
        (Laws("queue"),),
        "what ran when its task was cancelled still succeeds",
    ),
    Mutant(
        "losses-do-not-count",
        "S39",
        (Edit(_OUTCOMES, "    counted += counts\n", "    counted += counts and outcome not in INFRASTRUCTURE\n"),),
        (Laws("queue"),),
        "one poison task takes down node after node, for ever",
    ),
    Mutant(
        "lost-item-not-queued-again",
        "S36",
        (Edit(_ATTEMPTS, "                    self._board.requeue(held, row.counted)\n", ""),),
        (Laws("queue"),),
        "an item whose node died is never run",
    ),
    Mutant(
        "repeated-submit-is-another-task",
        "S36",
        (
            Edit(
                "skyward.queue.queue",
                "        if stored is not None:\n            submission.check_same(stored, row.fingerprint)",
                "        if stored is not None and not row.key:\n            submission.check_same(stored, row.fingerprint)",
            ),
            Edit(
                "skyward.queue.queue",
                "        return tx.tasks.add(row, submitted.items), True",
                "        if stored is not None:\n            row = replace(row, key=row.uid)\n"
                "        return tx.tasks.add(row, submitted.items), True",
            ),
        ),
        (Laws("queue"),),
        "a client that asks again because its answer was lost has its work done twice",
    ),
    Mutant(
        "broadcast-ranks-move",
        "S40",
        (
            Edit(
                _BOARD,
                "for task, item in tuple(self.pinned_to(holder.node_uid))[:capacity]:",
                "for task, item in [one for uid in tuple(self._pinned) for one in self.pinned_to(uid)][:capacity]:",
            ),
        ),
        (Laws("queue"),),
        "two ranks of a broadcast run on one node",
    ),
    Mutant(
        "lease-to-a-lost-node",
        "S34",
        (
            Edit(
                _ATTEMPTS,
                "        if holder.node_uid in self._lost:\n            return ()",
                "        if holder.node_uid in self._lost and capacity < 0:\n            return ()",
            ),
        ),
        (Laws("queue"),),
        "work is given to a connection that outlived its node",
    ),
    Mutant(
        "restarted-agent-keeps-its-leases",
        "L6",
        (
            Edit(
                _ATTEMPTS,
                "gone = [held for held in self._board.held_by(holder.node_uid) if held.id not in kept]",
                "gone: list[Held] = []",
            ),
        ),
        (Laws("queue", 1),),
        "what an agent ran when it was killed waits for it for ever",
    ),
    Mutant(
        "two-agents-of-one-node",
        "S42",
        (
            Edit(
                _AGENTS, "        if hello.incarnation in place.superseded:\n", "        if hello.incarnation in ():\n"
            ),
            Edit(
                _AGENTS,
                "named is None or config is None or hello.incarnation in place.superseded or",
                "named is None or config is None or",
            ),
        ),
        (Simulated("local", 0.5, ("duplicate-agent",), ("users", "work", "nodes")),),
        "two agents of a cloned disk take turns and throw away each other's work",
    ),
    Mutant(
        "cordoned-node-gets-work",
        "L13",
        (
            Edit(
                "skyward.controllers.node.registration",
                "schedulable=not (leaving or node.spec.unschedulable or _is_unhealthy(node)),",
                "schedulable=True,",
            ),
        ),
        (Simulated("local", 1.0, ("slow",), ("users", "work"), nodes=4),),
        "a node that is to be emptied is filled again",
    ),
    Mutant(
        "drain-skipped",
        "L13",
        (Edit(_LEAVING, "    if drained is not None:\n        return drained\n", ""),),
        (Laws("node", 423),),
        "running work is killed by every scale-down",
    ),
    Mutant(
        "drain-never-ends",
        "L13",
        (Edit(_LEAVING, "    if not busy or left_s <= 0:\n", "    if not busy:\n"),),
        (Laws("node", 278),),
        "one long task keeps an unwanted machine for ever",
    ),
)
