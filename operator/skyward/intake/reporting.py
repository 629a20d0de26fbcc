"""The Source object: where the manifests come from, how they were read last, and which of them were refused."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import (
    DEFAULT_NAMESPACE,
    Held,
    ObjectMeta,
    Reason,
    Source,
    SourceCondition,
    SourceSpec,
    SourceStatus,
    Status,
    find,
    set_condition,
    to_time,
)
from skyward.contracts import Transaction
from skyward.intake.applying import Rules
from skyward.intake.approvals import without_stale
from skyward.intake.declared import Declared
from skyward.intake.snapshot import SourceUnavailable
from skyward.kit.recorder import record_event

SOURCE_NAME = "manifests"
_KEY = f"{DEFAULT_NAMESPACE}/{SOURCE_NAME}"
_SHOWN_PROBLEMS = 100
_TOLD_PROBLEMS = 20
_SHOWN_FILES = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """How the directory was read."""

    doubt: str
    """Why nothing that is missing counts as removed; empty when it does count."""
    held: Held | None
    unfinished: str
    """The sign of the Git operation in spite of which it was read."""


def find_source(tx: Transaction) -> Source | None:
    return tx.get(Source, _KEY)


def report_read(tx: Transaction, path: str, declared: Declared, rules: Rules, reading: Reading) -> None:
    source = without_stale(_source(tx, path, rules), reading.held, reading.unfinished)
    status = source.status.replace(
        revision=declared.revision,
        pools=declared.pools,
        rejected=declared.problems[:_SHOWN_PROBLEMS],
        held=reading.held,
        unfinished=reading.unfinished,
    )
    known = {str(problem) for problem in source.status.rejected}
    new = [str(problem) for problem in status.rejected if str(problem) not in known]
    if reading.held is not None:
        source = _put(tx, source, status, Status.FALSE, Reason.DELETION_HELD, str(reading.held), rules)
    else:
        source = _put(tx, source, status, Status.TRUE, Reason.SOURCE_READ, _summary(declared, reading), rules)
    for problem in new[:_TOLD_PROBLEMS]:
        record_event(tx, source, Reason.MANIFEST_INVALID, problem, now=rules.now, warning=True)
    if len(new) > _TOLD_PROBLEMS:
        note = f"and {_count(len(new) - _TOLD_PROBLEMS, 'more problem')}: see status.rejected"
        record_event(tx, source, Reason.MANIFEST_INVALID, note, now=rules.now, warning=True)


def report_unavailable(tx: Transaction, path: str, err: SourceUnavailable, rules: Rules) -> None:
    source = _source(tx, path, rules)
    status = source.status.replace(unfinished=err.unfinished)
    _put(tx, source, status, Status.FALSE, err.reason, err.message, rules)


def report_waiting(tx: Transaction, path: str, err: SourceUnavailable, rules: Rules, minutes: int) -> None:
    """It has been busy for so long that somebody should look."""
    note = f"{err.message}; it has been so for {minutes} minutes: {err.remedy}"
    record_event(tx, _source(tx, path, rules), Reason.SOURCE_BUSY, note, now=rules.now, warning=True)


def doubt_about(marker: str | None, installation: str, declared: Declared | None) -> str:
    """Why a pool that is missing from the files is not taken for removed."""
    if marker is None:
        return f"missing pools are kept: there is no marker; to prove the directory write {installation} into .skyward-source"
    if marker != installation:
        return (
            "missing pools are kept: .skyward-source names another installation; if the directory is this one's, "
            f"write {installation} into it"
        )
    if declared is not None and declared.unknown:
        names = ", ".join(declared.unknown[:_SHOWN_FILES])
        return f"missing pools are kept while it is not known what {names} would declare"
    return ""


def _summary(declared: Declared, reading: Reading) -> str:
    parts = [f"{_count(declared.pools, 'pool')} in {_count(declared.files, 'file')}"]
    if declared.problems:
        parts[0] += f", {_count(len(declared.problems), 'problem')}"
    if reading.unfinished:
        parts.append(f"read although git is not finished ({reading.unfinished})")
    if reading.doubt:
        parts.append(reading.doubt)
    return "; ".join(parts)


def _source(tx: Transaction, path: str, rules: Rules) -> Source:
    found = tx.get(Source, _KEY)
    if found is not None:
        return found.replace(spec=SourceSpec(path=path))
    metadata = ObjectMeta(name=SOURCE_NAME, uid=rules.new_uid(), creation_timestamp=to_time(rules.now))
    return Source(metadata=metadata, spec=SourceSpec(path=path))


def _put(
    tx: Transaction, old: Source, status: SourceStatus, ready: Status, reason: Reason, message: str, rules: Rules
) -> Source:
    """The source as it is stored then."""
    conditions = set_condition(
        status.conditions,
        SourceCondition.READY,
        ready,
        reason,
        message,
        now=to_time(rules.now),
        observed_generation=old.metadata.generation,
    )
    new = old.replace(status=status.replace(conditions=conditions))
    if new == tx.get(Source, _KEY):
        return new
    read_at = to_time(rules.now)
    last_read = read_at if old.status.last_read is None else max(read_at, old.status.last_read)
    new = tx.put(new.replace(status=new.status.replace(last_read=last_read)))
    before = find(old.status.conditions, SourceCondition.READY)
    is_news = before is not None and before.status is not ready
    if is_news or (ready is Status.FALSE and (before is None or before.reason is not reason)):
        record_event(tx, new, reason, message, now=rules.now, warning=ready is Status.FALSE)
    return new


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
