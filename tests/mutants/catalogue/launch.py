"""Creating: intent before the call, identity in it, and nothing concluded from silence."""

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.trials import Laws, Simulated

_LAUNCH = "skyward.controllers.node.launch"
_OUTCOME = "skyward.controllers.node.outcome"
_PLAN = "skyward.planner.launching"
_AMBIGUOUS = ("fail-after", "hang", "lost-request", "slow")

MUTANTS = (
    Mutant(
        "intent-not-recorded",
        "S2",
        (Edit(_LAUNCH, "        tx.put_launch(prepared)\n        tx.put_launch(sent)\n", ""),),
        (Simulated("local", 0.2, actors=("users",)),),
        "an operator that dies during the call knows nothing of what it made",
    ),
    Mutant(
        "sent-not-recorded",
        "S2",
        (
            Edit(_LAUNCH, "        tx.put_launch(sent)\n", ""),
            Edit(_LAUNCH, "        return sent\n\n    # --- sending", "        return prepared\n\n    # --- sending"),
        ),
        (Simulated("local", 0.2, actors=("users",)),),
        "after a crash a call that was sent looks as if it had not been, and nobody looks for what it made",
    ),
    Mutant(
        "new-identity-on-replay",
        "S5",
        (
            Edit(
                _LAUNCH,
                "        request = launch.request\n        log =",
                "        request = launch.request\n"
                "        if launch.attempts > 1:\n"
                "            request = replace(request, launch=self._deps.ids.uid())\n"
                "        log =",
            ),
        ),
        (Simulated("token", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "a repeated call makes a second machine, because the provider cannot know that it is the same one",
    ),
    Mutant(
        "replay-asks-for-something-else",
        "S5",
        (
            Edit(
                _OUTCOME,
                "attempts=current.attempts + 1, sent_at=self._deps.clock.now())",
                "attempts=current.attempts + 1, sent_at=self._deps.clock.now(),\n"
                "            request=replace(current.request, count=current.request.count + 1))",
            ),
        ),
        (Simulated("token", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "the provider refuses a token that comes with other parameters, or makes more than was recorded",
    ),
    Mutant(
        "replay-without-token",
        "S5",
        (Edit(_PLAN, "case.rules.has_token and launch.attempts < REPLAYS_ALONE", "launch.attempts < REPLAYS_ALONE"),),
        (Simulated("listed", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "a provider without tokens makes another machine for every repeated call",
    ),
    Mutant(
        "timeout-is-a-rejection",
        "S4",
        (
            Edit(
                _LAUNCH,
                'await self._writer.unknown(launch, str(error) or "the provider gave no answer in time")',
                "await self._writer.rejected(launch, ProviderError(str(error)))",
            ),
        ),
        (Simulated("listed", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "what a call without an answer made is paid for and belongs to nobody, and another one is made",
    ),
    Mutant(
        "unread-refusal-of-a-replay-is-a-rejection",
        "S4",
        (Edit(_LAUNCH, "if unread and launch.attempts > 1:", "if unread and launch.attempts > 1_000_000:"),),
        (Simulated("token", 0.5, ("fail-after", "rate-limited"), ("users", "cloud"), 8.0, nodes=8, hint=1),),
        "429 to the second call is taken for proof that the first one made nothing",
    ),
    Mutant(
        "second-launch-while-unknown",
        "S5",
        (
            Edit(
                _PLAN,
                "    if launch.state in UNRESOLVED:\n        return resolve(case, launch)\n    if shows",
                "    if launch.state is LaunchState.SENT:\n        return resolve(case, launch)\n    if shows",
            ),
            Edit(_LAUNCH, "launch.state not in UNRESOLVED", "launch.state is not LaunchState.SENT"),
        ),
        (Simulated("listed", 0.5, _AMBIGUOUS, ("users", "cloud")),),
        "two machines for one slot whenever an answer is lost",
    ),
    Mutant(
        "absent-before-its-time",
        "S4",
        (
            Edit(
                _PLAN,
                "listed_at >= launch.sent_at + case.rules.absence_s",
                "listed_at >= launch.sent_at",
            ),
        ),
        (Simulated("listed", 1.0, ("fail-after", "stale-read", "slow", "hang"), ("users", "cloud"), hint=1),),
        "a machine that listings do not show yet is taken for never made, and another one is made",
    ),
    Mutant(
        "leaves-while-its-launch-is-unknown",
        "S10",
        (
            Edit(
                "skyward.planner.leaving",
                "    if launch.state in UNRESOLVED:\n        return resolve(case, launch)\n",
                "",
            ),
        ),
        (Laws("node", 56),),
        "the record of a node goes while nobody knows whether its machine exists",
    ),
    Mutant(
        "binds-one-machine-twice",
        "S43",
        (
            Edit(
                _OUTCOME,
                "for node, instance in zip(empty, free, strict=False):",
                "for node, instance in zip(empty, [*free, *free[-1:]], strict=False):",
            ),
        ),
        (Simulated("token", 0.5, ("partial-batch",), ("users", "cloud"), 8.0, nodes=12),),
        "two nodes believe in one machine, and the first that leaves deletes the other's",
    ),
)
