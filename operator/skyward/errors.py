"""One tree of errors, each named by what its catcher does next.

A message says what was attempted, on what, and what will happen or what to do; it never holds a secret or a payload.
"""

from __future__ import annotations


class SkyError(Exception):
    """Base of everything this project raises on purpose."""


class UserError(SkyError):
    """The caller's input is wrong. Shown as one line, never as a traceback."""


# --- objects -----------------------------------------------------------------------------------------------------


class NotFound(UserError):
    """There is no such object."""


class AlreadyExists(UserError):
    """An object of that name exists."""


class Conflict(UserError):
    """The object changed since it was read: read it again and retry."""


class Invalid(UserError):
    """A document or a field is not acceptable; `causes` name each field with its message."""

    def __init__(self, message: str, causes: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


class ReadOnlySource(UserError):
    """This source takes no writes through the API; the message says where to edit."""


class StateDirectoryInUse(UserError):
    """Another operator holds the state directory; the message says who."""


class Unauthenticated(UserError):
    """The operator does not accept this token: read the configuration again, it may belong to another installation."""


class StateUnusable(UserError):
    """The state directory cannot be used as it is (damaged, or of a newer version); the message says what to do."""


class StoreUnavailable(SkyError):
    """The store could not commit (disk full, I/O error, closed): nothing of this work was written, try again later."""


class LeadershipLost(SkyError):
    """Another operator holds the lease: write nothing, call nobody, end this process."""


class HistoryExpired(SkyError):
    """The change log no longer reaches back to the version asked for: list again."""


# --- providers ---------------------------------------------------------------------------------------------------


class ProviderError(SkyError):
    """Base of everything a driver raises."""


class InstanceNotFound(ProviderError):
    """The provider does not know the id. Not a proof that the instance is gone."""


class LaunchRejected(ProviderError):
    """Proof that the create call made nothing: the launch may be given up and tried elsewhere."""


class InsufficientCapacity(LaunchRejected):
    """This offering is sold out: cool it down and try the next."""

    def __init__(self, message: str, offering: str) -> None:
        super().__init__(message)
        self.offering = offering


class QuotaExceeded(LaunchRejected):
    """The account's limit is reached: wait for a human or for other machines to go."""


class BalanceExhausted(LaunchRejected):
    """The account has no money left: wait for a human."""


class RequestRejected(LaunchRejected):
    """The request itself is wrong: only a changed spec helps."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class CredentialsRejected(LaunchRejected):
    """The provider refuses our credentials: nothing may be concluded about what exists."""


class RateLimited(ProviderError):
    """Come back after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotYet(ProviderError):
    """The call is right but too early (a machine that still starts cannot be deleted): repeat later."""


class CreatedButFailed(ProviderError):
    """The create call made an instance that is of no use: delete it."""

    def __init__(self, message: str, instance_id: str) -> None:
        super().__init__(message)
        self.instance_id = instance_id


class OutcomeUnknown(ProviderError):
    """The create call may have worked: only its own identity may be used until that is known."""

    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.token = token


class ProviderUnavailable(ProviderError):
    """The provider does not answer or answers nonsense: change nothing, ask again later."""


# --- nodes -------------------------------------------------------------------------------------------------------


class TransportError(SkyError):
    """The SSH connection failed or broke: reconnect and resume."""


class HostKeyMismatch(TransportError):
    """The host showed another key than the pinned one: send nothing, never accept it."""


class StepFailed(SkyError):
    """A bootstrap step ended with an error; `tail` holds its last lines."""

    def __init__(self, message: str, step: str, tail: str) -> None:
        super().__init__(message)
        self.step = step
        self.tail = tail


# --- tasks, as the SDK raises them -------------------------------------------------------------------------------


class TaskError(SkyError):
    """Base of what a caller of `run`, `submit`, `map` or `broadcast` may get."""


class OperatorUnreachable(TaskError):
    """No operator answers at that address."""


class PoolNotFound(TaskError, NotFound):
    """There is no pool of that name."""


class PoolAtZero(TaskError):
    """The pool wants no nodes and nothing will raise that: the call could never run."""


class PoolNotReady(TaskError):
    """No node of the pool is ready, and a broadcast has no one to reach: wait for it first."""


class PayloadTooLarge(TaskError):
    """The function, an argument or a result is larger than a message may be."""


class StorageFull(TaskError):
    """The operator has no room for these bytes now: finished tasks give theirs back when their time is over."""


class PayloadLost(TaskError):
    """The bytes of an argument, a file or a result are not to be had, or are not what their digest says: call again."""


class PythonMismatch(TaskError):
    """The caller's Python minor version is not the pool's: functions would not load there."""


class NotPicklable(TaskError):
    """The function or an argument cannot be sent."""


class ResultNotPicklable(TaskError):
    """The function returned something that cannot be sent back."""


class FunctionNotLoadable(TaskError):
    """The node could not load the function: a module is missing there."""


class RemoteError(TaskError):
    """The function raised an exception that cannot be rebuilt here; the message holds its type and text."""


class TaskCancelled(TaskError):
    """The task was cancelled."""


class TaskTimedOut(TaskError):
    """An attempt ran past its timeout and was stopped."""


class ChildDied(TaskError):
    """The process that ran the function ended without an answer (crash, `os._exit`, kill)."""


class OutOfMemory(TaskError):
    """The function needed more memory than `resources.memory`."""


class NodeLost(TaskError):
    """The node went away, and the task may not be tried again."""
