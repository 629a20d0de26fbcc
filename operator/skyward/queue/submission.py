"""What is asked for, checked before anything is stored: every refusal says what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from skyward.contracts import ORDINARY, NodeDirectory, PoolFacts, Rank, Submission, TaskRow
from skyward.errors import Conflict, Invalid, PayloadTooLarge, PoolAtZero, PoolNotFound, PoolNotReady, PythonMismatch
from skyward.queue import policies
from skyward.queue.turns import selects

LARGEST_PAYLOAD = 64 * 1024 * 1024
MODES = ("run", "map", "broadcast")
_NAME_CHARACTERS = 40
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


def check(submission: Submission) -> None:
    """Raises Invalid, PayloadTooLarge."""
    if submission.mode not in MODES:
        raise Invalid(f"mode {submission.mode!r} does not exist: use run, map or broadcast")
    if submission.open and submission.mode != "map":
        raise Invalid(f"a {submission.mode} takes no more items later: only a map may be open")
    if submission.mode != "map" and len(submission.items) != 1:
        raise Invalid(f"a {submission.mode} takes one item, not {len(submission.items)}")
    if not submission.items and not submission.open:
        raise Invalid("a map needs at least one item")
    if not submission.key:
        raise Invalid("a submission needs a key, so that a repeat makes no second task")
    if not 1 <= submission.max_attempts <= 100:
        raise Invalid(f"max_attempts must be from 1 to 100, not {submission.max_attempts}")
    if not -1000 <= submission.priority <= 1000:
        raise Invalid(f"priority must be from -1000 to 1000, not {submission.priority}")
    if submission.timeout_s is not None and not 0 < submission.timeout_s < 1e9:
        raise Invalid(f"timeout must be a positive number of seconds, not {submission.timeout_s}")
    if submission.policy is not ORDINARY:
        policies.check(submission)
    check_sizes(submission.items)


def check_sizes(items: Sequence[bytes]) -> None:
    for index, item in enumerate(items):
        if len(item) > LARGEST_PAYLOAD:
            raise PayloadTooLarge(
                f"the arguments of item {index} have {len(item)} bytes, more than {LARGEST_PAYLOAD}: "
                "pass a path or a key to the data instead"
            )


def check_pool(submission: Submission, pool: PoolFacts | None) -> PoolFacts:
    """The pool as it is now. Raises PoolNotFound, PoolAtZero, PythonMismatch, PoolNotReady."""
    key = submission.pool
    if pool is None:
        raise PoolNotFound(f"there is no pool {key}: create it, or see the existing ones with 'skyctl get pools -A'")
    if pool.deleting:
        raise PoolNotFound(f"pool {key} is being deleted and takes no more work: create it again when it is gone")
    if pool.nodes == 0:
        raise PoolAtZero(f"pool {key} has spec.nodes: 0, so the call could never run: set spec.nodes to 1 or more")
    if submission.python != pool.python:
        raise PythonMismatch(
            f"pool {key} runs Python {pool.python}, you call from {submission.python}: set spec.image.python: "
            f"'{submission.python}' or run the caller with {pool.python}"
        )
    policies.check_selector(submission.policy.selector, pool)
    if submission.mode == "broadcast" and not pool.ready:
        raise PoolNotReady(f"no node of pool {key} is ready, so a broadcast reaches no one: wait for it (wait_ready)")
    return pool


def ranks_of(submission: Submission, pool: PoolFacts, nodes: NodeDirectory) -> tuple[Rank, ...]:
    """Whom a broadcast reaches; empty for all else. Raises PoolNotReady when its selector leaves nobody."""
    selector = submission.policy.selector
    if submission.mode != "broadcast":
        return ()
    ranks = tuple(rank for rank in pool.ready if not selector or selects(selector, nodes.node(rank.node_uid).labels))
    if not ranks:
        raise PoolNotReady(
            f"no ready node of pool {submission.pool} has {policies.words(selector)}, so the broadcast reaches no one"
        )
    return ranks


def fingerprint(submission: Submission) -> str:
    """Of everything that makes it another submission: function, items, mode, pool. Takes time for large items."""
    digest = hashlib.sha256()
    for text in (submission.function, submission.mode, submission.pool):
        digest.update(b"%d:%b" % (len(text.encode()), text.encode()))
    for item in submission.items:
        digest.update(b"%d:" % len(item))
        digest.update(item)
    return digest.hexdigest()


def check_same(stored: TaskRow, new_fingerprint: str) -> None:
    """Raises Conflict unless this is a repeat of what made the task."""
    if stored.fingerprint != new_fingerprint:
        raise Conflict(
            f"key {stored.key!r} was used for task {stored.namespace}/{stored.name} with another function, pool, mode "
            "or other items: use a new key for another call"
        )


def uid_in_order(uid: str, now: float) -> str:
    """A random uid with the time in front, as version 7 of RFC 9562 has it: an index of tasks grows at its end, however long
    the queue is."""
    milliseconds = f"{int(now * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{uid[15:]}"


def base_name(function_name: str) -> str:
    """The function's name as the first part of an object's name."""
    name = _NOT_IN_A_NAME.sub("-", function_name.lower())[:_NAME_CHARACTERS].strip("-")
    return name or "task"


def to_row(
    submission: Submission,
    pool: PoolFacts,
    ranks: tuple[Rank, ...],
    *,
    uid: str,
    name: str,
    fingerprint: str,
    now: float,
) -> TaskRow:
    return TaskRow(
        uid=uid,
        namespace=submission.pool.partition("/")[0],
        name=name,
        submitter=submission.submitter,
        key=submission.key,
        fingerprint=fingerprint,
        pool=submission.pool,
        mode=submission.mode,
        function=submission.function,
        function_name=submission.name,
        max_attempts=submission.max_attempts,
        timeout_s=submission.timeout_s,
        priority=submission.priority,
        env=submission.env,
        stream=submission.stream,
        ranks=ranks,
        items=len(ranks) or len(submission.items),
        open=submission.open,
        created_at=now,
        policy=policies.settled(submission.policy, now),
        pool_generation=pool.generation,
        template_hash=pool.template_hash,
    )
