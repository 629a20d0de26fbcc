"""What a task finds around it on this node: variables, its place in the pool, and the accelerators of its lane."""

from __future__ import annotations

import logging
from pathlib import Path

from skyward_agent.runner.context import attempt_environment, read_image_environment
from skyward_agent.sensors.accelerators import Accelerator, permitted, share, visibility
from skyward_agent.wire.messages import THREAD, Configure, Lease

_log = logging.getLogger("skyward_agent")


class Surroundings:
    """Follows the pool's configuration and what the sensors find."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        """`environment` is that of every child."""
        self._home = home
        self._environment = environment
        self._image: dict[str, str] = {}
        self._configure: Configure | None = None
        self._accelerators: tuple[Accelerator, ...] = ()
        self._of_lanes: dict[int, dict[str, str]] = {}
        """Nearly every task of a lane has the same."""

    def configure(self, configure: Configure) -> None:
        self._configure = configure
        self._image = read_image_environment(self._home)
        self._of_lanes.clear()
        timeout = configure.orphan_timeout_s
        try:
            (self._home / "orphan").write_text("off" if timeout is None else str(timeout))
        except OSError as error:
            _log.warning("orphan timeout not kept error=%s", error)

    def found(self, accelerators: tuple[Accelerator, ...]) -> None:
        self._accelerators = permitted(accelerators, self._environment)
        self._of_lanes.clear()

    def of_node(self) -> dict[str, str]:
        """That of every task: the image's variables, then the pool's."""
        pool = {} if self._configure is None else self._configure.env
        return {**self._environment, **self._image, **pool}

    def environment(self, lease: Lease, lane: int, lanes: int) -> dict[str, str]:
        assert self._configure is not None, "nothing is leased before the pool is known"
        is_plain = not lease.env and lease.rank < 0
        known = self._of_lanes.get(lane) if is_plain else None
        if known is None:
            # Threads share what their process sees.
            is_shared = self._configure.executor == THREAD
            seen = self._accelerators if is_shared else share(self._accelerators, lane, lanes)
            known = attempt_environment(
                self._image,
                self._configure,
                lease,
                lane=lane,
                accelerators=tuple(one.name for one in seen),
                visible=visibility(seen),
            )
            if is_plain:
                self._of_lanes[lane] = known
        return known
