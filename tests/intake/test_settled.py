"""What is known to be settled is asked about once, and never believed of another pool or another document."""

from __future__ import annotations

from dataclasses import replace

from skyward.api import Pool, PoolCondition, Reason, Status, set_condition, to_time
from skyward.documents import Document, parse_file
from skyward.intake.applying import new_pool, says_all
from skyward.intake.settled import Settled
from tests.builders import NOW

MANIFEST = "apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {{name: hello}}\nspec: {{nodes: {nodes}, provider: local}}\n"


def document(nodes: int) -> Document:
    (found,) = parse_file("hello.yaml", MANIFEST.format(nodes=nodes).encode()).documents
    return found


def stored(wanted: Document) -> Pool:
    return new_pool(wanted, "revision", "uid", to_time(NOW))


class Counted:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, pool: Pool, wanted: Document) -> bool:
        self.asked += 1
        return says_all(pool, wanted)


def test_the_same_pool_and_document_are_compared_once() -> None:
    wanted, counted = document(3), Counted()
    pool, settled = stored(wanted), Settled(counted)

    assert settled.holds(pool, wanted)
    assert settled.holds(pool, wanted)
    assert counted.asked == 1


def test_a_document_that_says_something_else_is_not_believed_to_be_settled() -> None:
    wanted = document(3)
    pool, settled = stored(wanted), Settled(says_all)

    assert settled.holds(pool, wanted)
    assert not settled.holds(pool, document(4))


def test_a_pool_that_changed_is_not_believed_to_be_settled() -> None:
    wanted = document(3)
    pool, settled = stored(wanted), Settled(says_all)
    refused = set_condition(
        pool.status.conditions, PoolCondition.ACCEPTED, Status.FALSE, Reason.CONFLICT, now=to_time(NOW)
    )

    assert settled.holds(pool, wanted)
    assert not settled.holds(pool.replace(status=pool.status.replace(conditions=refused)), wanted)


def test_what_is_not_settled_is_asked_about_each_time() -> None:
    wanted, counted = document(4), Counted()
    pool, settled = stored(document(3)), Settled(counted)

    assert not settled.holds(pool, wanted)
    assert not settled.holds(pool, wanted)
    assert counted.asked == 2


def test_pools_that_are_no_more_are_forgotten() -> None:
    wanted, counted = document(3), Counted()
    pool, settled = stored(wanted), Settled(counted)

    settled.holds(pool, wanted)
    settled.only(())

    assert settled.holds(pool, replace(wanted))
    assert counted.asked == 2
