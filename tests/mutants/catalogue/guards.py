"""Guards on reality: outages, correlated losses, ceilings, slow start, repair."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_POOL = "skyward.planner.pool"
_BREAKER = "skyward.planner.breaker"
_CEILINGS = "skyward.planner.ceilings"
_FAILURES = "skyward.planner.failures"
_REPAIR = "skyward.planner.repair"

MUTANTS = (
    Mutant(
        "outage-does-not-freeze",
        "S7",
        (Edit(_POOL, "    elif not observed.synced:\n", "    elif now < 0.0:\n"),),
        (Laws("pool", 12),),
        "pools are planned while nobody knows what exists",
    ),
    Mutant(
        "gives-up-during-an-outage",
        "S7",
        (
            Edit(
                "skyward.planner.node",
                "(observed.listed_at is None or case.is_paused)",
                "case.is_paused",
            ),
        ),
        (
            Laws("node", 437),
            Simulated(
                "token", 1.0, ("brown-out", "agent-crash", "bootstrap-fails", "partition"), ("users", "cloud", "nodes")
            ),
        ),
        "nodes are replaced because their provider cannot be asked about them",
    ),
    Mutant(
        "paused-pool-acts",
        "S15",
        (Edit(_POOL, "    elif pool.spec.paused:\n", "    elif now < 0.0:\n"),),
        (Laws("pool", 16),),
        "somebody pauses a pool to stop a bad roll-out, and it goes on",
    ),
    Mutant(
        "breaker-off",
        "S8",
        (
            Edit(_BREAKER, "    if len(own.silent) > most:", "    if len(own.silent) > 1_000_000:"),
            Edit(_BREAKER, "if fell >= FEWEST_OF_ALL", "if fell >= 1_000_000"),
        ),
        (Laws("guards", 1),),
        "a network cut replaces the whole fleet",
    ),
    Mutant(
        "ceilings-off",
        "S12",
        (
            Edit(_CEILINGS, "        if left < 1:\n", "        if left < -1_000_000:\n"),
            Edit(_CEILINGS, "left = min(left, _left(ceiling - used, each))", "_left(ceiling - used, each)"),
        ),
        (Laws("guards"),),
        "one wrong digit in a manifest empties the account",
    ),
    Mutant(
        "ceiling-forgets-what-is-hidden",
        "S12",
        (
            Edit(
                _CEILINGS,
                "expected = launch.request.count if launch.state in UNANSWERED else",
                "expected = 0 if launch.state in UNANSWERED else",
            ),
        ),
        (Laws("guards", 11),),
        "machines that may exist and show nowhere yet are not counted",
    ),
    Mutant(
        "slow-start-off",
        "S13",
        (Edit(_FAILURES, "        return 0 if waits else 1\n", "        return None\n"),),
        (Laws("pool", 4),),
        "a template that fails is tried on as many machines as are wanted, again and again",
    ),
    Mutant(
        "no-delay-after-a-failure",
        "S13",
        (Edit(_FAILURES, "delay = min(FIRST_DELAY_S * 2.0 ** (len(recent) - 1), LONGEST_DELAY_S)", "delay = 0.0"),),
        (Simulated("local", 0.5, ("bootstrap-fails",), ("users", "nodes")),),
        "failing nodes are bought as fast as they can fail",
    ),
    Mutant(
        "refusals-do-not-slow-down",
        "S13",
        (Edit(_CEILINGS, "    return max(0, made + 1 - unanswered)\n", "    return None\n"),),
        (Laws("guards", 6),),
        "what was refused is asked for again at full size",
    ),
    Mutant(
        "repairs-all-at-once",
        "S15",
        (Edit(_REPAIR, "enumerate(due[:room])", "enumerate(due)"),),
        (Laws("pool", 999), Laws("history")),
        "a health check that is wrong about all nodes takes all of them at once",
    ),
    Mutant(
        "unhealthy-limit-ignored",
        "S8",
        (Edit(_REPAIR, "    if len(sick) > limit:\n", "    if len(sick) > limit + 1_000_000:\n"),),
        (Laws("pool", 540),),
        "when everything is ill it is seldom the nodes, and they are replaced all the same",
    ),
    Mutant(
        "ready-before-its-agent",
        "S44",
        (
            Edit(
                "skyward.planner.starting",
                "        false(NodeCondition.READY, Reason.REGISTERING, waiting),\n",
                "        true(NodeCondition.READY, Reason.READY),\n",
            ),
        ),
        (Simulated("local", 0.3, ("slow-bootstrap",), ("users", "nodes")),),
        "a node counts as ready because its bootstrap ended, whatever became of its agent",
    ),
)
