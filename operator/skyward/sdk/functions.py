"""Functions with options of their own, and the short way to call them: `fn(1) >> pool`, `fn(1) @ pool`, `(a & b) >> pool`."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, overload

from skyward.errors import UserError
from skyward.sdk.options import PolicyOptions, checked

if TYPE_CHECKING:
    from skyward.sdk.async_pool import AsyncPool
    from skyward.sdk.pool import PoolHandle

P = ParamSpec("P")
T = TypeVar("T")


@overload
def function(of: Callable[P, T], /) -> RemoteFunction[P, T]: ...


@overload
def function(
    *, timeout: float | None = None, max_attempts: int | None = None, **policy: Unpack[PolicyOptions]
) -> Callable[[Callable[P, T]], RemoteFunction[P, T]]: ...


def function(
    of: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float | None = None,
    max_attempts: int | None = None,
    **policy: Unpack[PolicyOptions],
) -> Any:
    """Make a function one that is meant for pools: `fn(1)` is then a call that waits for its pool, and `fn.local(1)` runs here.

    Its options hold wherever it is called, but for those that the caller names with `pool.options`. On a node it is the
    plain function again.
    """
    given: dict[str, Any] = {"timeout": timeout, "max_attempts": max_attempts, "policy": checked(policy) or None}
    options = {name: value for name, value in given.items() if value is not None}
    if timeout is not None and not timeout > 0:
        raise UserError(f"timeout is {timeout}: use seconds above 0")
    if max_attempts is not None and max_attempts < 1:
        raise UserError(f"max_attempts is {max_attempts}: use 1 or more")
    return (lambda real: RemoteFunction(real, options)) if of is None else RemoteFunction(of, options)


class RemoteFunction(Generic[P, T]):
    """What `@sky.function` makes of a function."""

    def __init__(self, local: Callable[P, T], options: Mapping[str, Any]) -> None:
        if not callable(local):
            raise UserError(f"@sky.function: {local!r:.80} is not a function; options go by name, like timeout=60")
        functools.update_wrapper(self, local)
        self.local = local
        """The function itself."""
        self.options = dict(options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return Call(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<function {getattr(self, '__qualname__', self.local)!s} for a pool>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Nodes have no need of the wrapper: other functions call this one there as if it had never been decorated.
        return operator.itemgetter(0), ((self.local,),)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call that has not been given to a pool yet."""

    function: RemoteFunction[..., T]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __rshift__(self, pool: PoolHandle | AsyncPool) -> Any:
        """`call >> pool`: run it on one node; the result (to be awaited, of an asynchronous pool)."""
        return pool.run(self.function, *self.args, **self.kwargs)

    def __matmul__(self, pool: PoolHandle | AsyncPool) -> Any:
        """`call @ pool`: run it on every ready node; results by rank."""
        return pool.broadcast(self.function, *self.args, **self.kwargs)

    def __and__(self, other: Call[Any] | Calls) -> Calls:
        return Calls((self,)) & other


@dataclass(frozen=True, slots=True)
class Calls:
    """Several calls to be run side by side."""

    calls: tuple[Call[Any], ...]

    def __and__(self, other: Call[Any] | Calls) -> Calls:
        if isinstance(other, Call):
            return Calls((*self.calls, other))
        if isinstance(other, Calls):
            return Calls((*self.calls, *other.calls))
        return NotImplemented

    def __rshift__(self, pool: PoolHandle | AsyncPool) -> Any:
        """`(a & b) >> pool`: all results, in this order."""
        return pool.gather(self.calls)
