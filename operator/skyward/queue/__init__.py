"""The one task queue: durable, fenced, at-least-once with at most one committed result."""

from skyward.queue.queue import DurableQueue

__all__ = ["DurableQueue"]
