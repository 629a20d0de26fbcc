"""A process of its own for each seed, forked from one that has loaded everything: memory stays bounded over thousands of seeds,
and nobody has to collect what a run leaves behind."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

A = TypeVar("A")
R = TypeVar("R")


class EndedWithoutAnswer(Exception):
    """A process was killed, or what it ran raised: then it said so itself."""


def run_each(call: Callable[[A], R], arguments: Iterable[A], jobs: int) -> Iterator[R]:
    """The answers in the order of the arguments, from `jobs` processes at once. Whoever stops listening ends them all."""
    left = enumerate(arguments)
    running: dict[Connection, tuple[int, A, BaseProcess]] = {}
    answers: dict[int, R] = {}
    wanted = 0
    try:
        while True:
            while len(running) < jobs and (following := next(left, None)) is not None:
                end, process = _start(call, following[1])
                running[end] = (*following, process)
            if not running:
                return
            for ready in wait(tuple(running)):
                end = cast(Connection, ready)
                number, argument, process = running[end]
                answers[number] = _hear(end, argument)
                process.join()
                del running[end]
            while wanted in answers:
                yield answers.pop(wanted)
                wanted += 1
    finally:
        for _, _, process in running.values():
            process.kill()
            process.join()


def _start(call: Callable[[A], R], argument: A) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    end, others = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(call, argument, others))
    process.start()
    others.close()
    return end, process


def _answer(call: Callable[[A], R], argument: A, end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who listens ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end.send(call(argument))
    end.close()


def _hear(end: Connection, argument: object) -> Any:
    try:
        return end.recv()
    except EOFError:
        raise EndedWithoutAnswer(f"the process for {argument} ended without an answer") from None
    finally:
        end.close()
