"""Traits of a process that its environment does not show: limits, priority, CPUs, signal handlers, locale.

What a task changed of them is put back before the next. Some cannot be: only root may take back a lowered priority or a hard
limit; then the process is not fit for another task.
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # a part of Python that nobody describes
import os
import resource
import signal

_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
)
_SIGNALS = tuple(int(number) for number in signal.valid_signals() if number < signal.SIGRTMIN)


class Traits:
    """As they are when this is made."""

    def __init__(self) -> None:
        self._limits = {limit: resource.getrlimit(limit) for limit in _LIMITS}
        self._priority = _priority()
        self._cpus = os.sched_getaffinity(0)
        self._handlers = tuple(map(_signal.getsignal, _SIGNALS))
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._locale = _locale.setlocale(_locale.LC_ALL, None)

    def restore(self) -> bool:
        """False when something could not be put back."""
        self._restore_signals()
        if _locale.setlocale(_locale.LC_ALL, None) != self._locale:
            _locale.setlocale(_locale.LC_ALL, self._locale)
        try:
            for limit, value in self._limits.items():
                if resource.getrlimit(limit) != value:
                    resource.setrlimit(limit, value)
            if _priority() != self._priority:
                os.setpriority(os.PRIO_PROCESS, 0, self._priority)
            if os.sched_getaffinity(0) != self._cpus:
                os.sched_setaffinity(0, self._cpus)
        except (OSError, ValueError):
            return False
        return True

    def _restore_signals(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        now = tuple(map(_signal.getsignal, _SIGNALS))  # from C: to name each takes longer than many a task
        if now != self._handlers:
            for number, before, after in zip(_SIGNALS, self._handlers, now, strict=True):
                if before != after:
                    signal.signal(number, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)
