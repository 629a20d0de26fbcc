"""All stories, by what they are about; and the core of them, a share of which runs with every change."""

from tests.sweep.stories.desire import DESIRE
from tests.sweep.stories.launching import LAUNCHING
from tests.sweep.stories.leading import LEADING
from tests.sweep.stories.losing import LOSING
from tests.sweep.stories.rolling import ROLLING
from tests.sweep.stories.tasks import TASKS
from tests.sweep.story import Story

STORIES: dict[str, Story] = {
    name: story for book in (LAUNCHING, ROLLING, LOSING, DESIRE, LEADING, TASKS) for name, story in book.stories.items()
}

CORE = (
    "provision",
    "provision-on-token",
    "provision-on-listed",
    "capacity-is-refused-and-then-found",
    "the-answer-to-a-create-is-lost-on-token",
    "a-batch-is-made-in-part",
    "a-pool-shrinks",
    "one-node-at-a-time-is-replaced",
    "a-new-node-serves-before-an-old-one-leaves",
    "a-machine-vanishes",
    "a-bootstrap-fails-once",
    "an-agent-dies-and-is-started-again",
    "an-unhealthy-node-is-replaced",
    "a-pool-is-deleted",
    "a-pool-is-deleted-through-the-api",
    "a-mass-deletion-is-approved",
    "a-standby-takes-over",
    "the-wall-clock-jumps",
    "older-records-are-restored-and-what-they-lack-is-adopted",
    "a-node-is-lost-in-the-middle-of-a-map",
    "work-is-cancelled",
    "an-item-kills-whoever-runs-it",
)
