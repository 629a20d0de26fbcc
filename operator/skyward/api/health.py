"""How a pool's nodes prove that they are well, and how many of them may be repaired at once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from skyward.api.base import Word
from skyward.api.quantities import Duration, IntOrPercent, parse_duration


class HealthCheckSpec(Word):
    """A command that every node runs again and again. It passes with exit status 0."""

    command: Annotated[str, Field(min_length=1, max_length=4096)]
    """For the node's `/bin/sh`, in the node's home and with the environment of tasks."""
    interval: Duration = "30s"
    """From the end of one run to the beginning of the next."""
    timeout: Duration = "10s"
    """A run that takes longer is ended with all that it started, and failed."""
    threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """So many failures in a row make the node unhealthy; one pass makes it healthy."""
    startup_timeout: Duration = "10m"
    """A new node that does not pass within this time of its registration has failed."""
    max_in_flight: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """How many unhealthy nodes may be under repair at once."""
    unhealthy_limit: IntOrPercent = "40%"
    """With more unhealthy nodes than this none is repaired: then the check or something shared is at fault. A share rounds up."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and "command" not in data:
            raise ValueError("healthCheck.command is missing: say which command each node runs")
        return data

    @model_validator(mode="after")
    def _can_run(self) -> HealthCheckSpec:
        for name, text in (("interval", self.interval), ("timeout", self.timeout)):
            if parse_duration(text) < 0.1:
                raise ValueError(f"healthCheck.{name} must be at least 100ms")
        if "\0" in self.command:
            raise ValueError("healthCheck.command must not hold a NUL character")
        return self
