"""The laws of pure code, as one question about one seed."""

from __future__ import annotations

import asyncio
import traceback

from tests.properties.ending_laws import check_ending
from tests.properties.guard_laws import check_guards
from tests.properties.template_laws import check_template
from tests.properties.volume import Kind, check
from tests.queue.test_model import run_history
from tests.simulation.silence import be_silent

GUARDS = "guards"
ENDING = "ending"
QUEUE = "queue"
TEMPLATE = "template"


def broken_law(kind: str, seed: int) -> tuple[str, str] | None:
    """The law that this seed's world breaks, by name, and how; None when all hold. Raises what is not a law."""
    try:
        if kind == GUARDS:
            check_guards(seed)
        elif kind == ENDING:
            check_ending(seed)
        elif kind == TEMPLATE:
            check_template(seed)
        elif kind == QUEUE:
            be_silent()
            asyncio.run(run_history(seed))
        else:
            check(Kind(kind), seed)
    except AssertionError as error:
        frames = traceback.extract_tb(error.__traceback__)
        law = next((frame.name for frame in reversed(frames) if "/tests/" in frame.filename), kind)
        return law.strip("_"), str(error).splitlines()[0] if str(error) else f"line {frames[-1].lineno}"
    return None
