"""The items of a task, page by page."""

from __future__ import annotations

import pytest

from skyward.api import ItemCounts
from skyward.client.objects import ObjectClient
from skyward.errors import NotFound
from tests.apiserver.standins import World


def test_items_come_in_pages_that_say_where_the_next_begins(world: World, client: ObjectClient) -> None:
    task = world.queue.add("t")
    world.queue.kept[task.key] = task.replace(status=task.status.replace(items=ItemCounts(queued=5)))

    first = client.items("default", "t", limit=2)
    second = client.items("default", "t", limit=2, after=first["metadata"]["continue"])
    rest = client.items("default", "t", after=second["metadata"]["continue"])

    assert [[item["index"] for item in page["items"]] for page in (first, second, rest)] == [[0, 1], [2, 3], [4]]
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in rest["metadata"]
    assert (first["kind"], first["items"][0]["phase"]) == ("TaskItemList", "Queued")


def test_an_unknown_task_has_no_items(client: ObjectClient) -> None:
    with pytest.raises(NotFound, match=r'tasks\.skyward\.dev "none" not found'):
        client.items("default", "none")
