"""Tasks and agents: one result for each item, from the attempt that holds it, and nothing lost."""

from dataclasses import replace

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_ATTEMPTS = "skyward.queue.attempts"
_BOARD = "skyward.queue.board"
_OUTCOMES = "skyward.queue.outcomes"
_ROWS = "skyward.store.task_rows"
_AGENTS = "skyward.gateway.agents"
_LEAVING = "skyward.planner.leaving"
_WORK = ("users", "work", "nodes", "chaos")
_FENCES = Simulated(
    "local",
    1.0,
    ("agent-crash", "agent-hang", "partition", "reboot", "slow-commit", "forged-report"),
    (*_WORK, "strangers"),
    hint=0,
)
"""Here each fence is tried: nodes die and come back, operators die, writes overtake each other, and reports are made up."""
_RESTARTED = Simulated("local", 1.0, ("agent-crash", "reboot"), (*_WORK, "strangers"), weight=20.0, nodes=2, hint=0)
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
                '"WHERE task = ? AND state != 2",\n            (outcome, at, readable',
                '"WHERE task = ? AND state = 0",\n            (outcome, at, readable',
            ),
        ),
        (replace(_FENCES, hint=1), Laws("queue")),
        "what ran when its task was cancelled still succeeds",
    ),
    Mutant(
        "losses-do-not-count",
        "S39",
        (Edit(_OUTCOMES, "    counted += counts\n", "    counted += counts and outcome not in INFRASTRUCTURE\n"),),
        (_FENCES, Laws("queue")),
        "one poison task takes down node after node, for ever",
    ),
    Mutant(
        "lost-item-not-queued-again",
        "S36",
        (Edit(_ATTEMPTS, "                    self._board.requeue(held, row.counted, row.ready_at, row.at)\n", ""),),
        (Laws("queue"),),
        "an item whose node died is never run",
    ),
    Mutant(
        "repeated-submit-is-another-task",
        "S36",
        (
            Edit(
                "skyward.queue.arrivals",
                "            stored = known.get((row.submitter, row.key))\n            if stored is not None:\n",
                "            stored = known.get((row.submitter, row.key))\n            if stored is not None:\n"
                "                rows[index] = row = replace(row, key=row.uid)\n"
                "                arrival.row = row\n            if stored is not None and not row.key:\n",
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
                "skyward.queue.ranks",
                "taken = list(self.of_node(holder.node_uid))[:count] if holder.node_uid in self._pinned else []",
                "taken = [one for uid in tuple(self._pinned) for one in self.of_node(uid)][:count]",
            ),
        ),
        (replace(_FENCES, hint=3), Laws("queue")),
        "two ranks of a broadcast run on one node",
    ),
    Mutant(
        "late-joiner-takes-a-rank-that-is-not-vacant",
        "S40",
        (
            Edit(
                "skyward.queue.ranks",
                "rank.node_uid == holder.node_uid and _entry(task, index) not in vacant",
                "False and rank.node_uid == holder.node_uid and _entry(task, index) not in vacant",
            ),
        ),
        (Laws("queue"),),
        "one node runs two ranks of a broadcast that wait for each other",
    ),
    Mutant(
        "what-may-have-begun-is-run-again",
        "S37",
        (
            Edit(
                _BOARD,
                "holder.node_uid, holder.node, task.is_at_most_once)",
                "holder.node_uid, holder.node, False)",
            ),
        ),
        (replace(_FENCES, hint=1), Laws("queue")),
        "a payment that was asked for at most once is made twice when its node dies before it is heard of",
    ),
    Mutant(
        "start-marker-is-lost-with-the-operator",
        "S37",
        (Edit(_ROWS, "SET state = 1, started = new.column7,", "SET state = 1, started = 0 * new.column7,"),),
        (replace(_FENCES, hint=1), Laws("queue")),
        "the same, when the operator was restarted in between",
    ),
    Mutant(
        "any-incarnation-says-that-it-never-began",
        "S37",
        (
            Edit(
                _OUTCOMES,
                "if held.task.is_at_most_once and held.incarnation == incarnation:",
                "if held.task.is_at_most_once:",
            ),
        ),
        (_RESTARTED, Laws("queue")),
        "an agent that was restarted knows nothing of what the one before it ran, and it is run again",
    ),
    Mutant(
        "secret-is-not-asked-for",
        "S34",
        (Edit(_ATTEMPTS, "if held is not None and held.secret == report.id.secret:", "if held is not None:"),),
        (_FENCES, Laws("queue")),
        "who guesses the number of an attempt ends it",
    ),
    Mutant(
        "number-is-not-asked-for",
        "S34",
        (
            Edit(
                _BOARD,
                "held is None or held.attempt != attempt.attempt or held.node_uid",
                "held is None or held.node_uid",
            ),
        ),
        (_FENCES,),
        "a report of another attempt of the same node ends the one that runs now",
    ),
    Mutant(
        "exceptions-do-not-use-up-tries",
        "S39",
        (Edit(_OUTCOMES, "if row.counted > policy.max_retries or", "if row.counted > policy.max_retries + 1 or"),),
        (replace(_FENCES, hint=3), Laws("queue")),
        "what always fails is tried more often than it may",
    ),
    Mutant(
        "pause-ends-at-once",
        "S39",
        (
            Edit(
                _BOARD,
                "        if ready_at is not None and ready_at > now:\n            self._delay(held",
                "        if ready_at is not None and ready_at > now + 1e9:\n            self._delay(held",
            ),
        ),
        (Laws("queue"),),
        "a service that is down is asked again and again without a pause",
    ),
    Mutant(
        "deadline-spares-what-runs",
        "L6",
        (Edit("skyward.queue.agenda", "return not task.is_retired", "return not (task.is_retired or task.held)"),),
        (Laws("queue"),),
        "a task that runs goes on after its deadline",
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
                "return not (node.metadata.deletion_timestamp is not None or node.spec.unschedulable or is_unhealthy)",
                "return True",
            ),
            Edit("skyward.controllers.node.registration", "schedulable=False,", "schedulable=True,"),
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
