"""A connection that breaks under a long look: said once, waited for, and taken up where it was left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from skyward.errors import OperatorUnreachable
from skyward.skyctl.session import remark

if TYPE_CHECKING:
    from skyward.client.objects import ObjectClient

PATIENCE_S = 300.0
_POLL_S = 0.5
LOST = "the connection to the operator broke; reconnecting (Ctrl-C to end)"
FOUND = "connected again"


def await_operator(client: ObjectClient, error: OperatorUnreachable, limit_s: float = PATIENCE_S) -> None:
    """Until the operator answers again. Raises the error when it does not within `limit_s`."""
    deadline = time.monotonic() + limit_s
    remark(LOST)
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        try:
            client.version()
        except OperatorUnreachable:
            continue
        remark(FOUND)
        return
    raise error
