"""The Source object: where the manifests come from, how they were read last, and which of them were refused."""

from __future__ import annotations

from skyward.api import (
    DEFAULT_NAMESPACE,
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
from skyward.intake.declared import Declared
from skyward.kit.recorder import record_event

SOURCE_NAME = "manifests"
_KEY = f"{DEFAULT_NAMESPACE}/{SOURCE_NAME}"
_SHOWN_PROBLEMS = 100
_TOLD_PROBLEMS = 20
_SHOWN_FILES = 3


def report_read(tx: Transaction, path: str, declared: Declared, rules: Rules, doubt: str) -> None:
    """The directory was read. `doubt` says why nothing that is missing counts as removed; empty when it does count."""
    source = _source(tx, path, rules)
    status = source.status.replace(
        revision=declared.revision, pools=declared.pools, rejected=declared.problems[:_SHOWN_PROBLEMS]
    )
    message = f"{_count(declared.pools, 'pool')} in {_count(declared.files, 'file')}"
    if declared.problems:
        message += f", {_count(len(declared.problems), 'problem')}"
    if doubt:
        message += f"; {doubt}"
    known = {str(problem) for problem in source.status.rejected}
    new = [str(problem) for problem in status.rejected if str(problem) not in known]
    source = _put(tx, source, status, Status.TRUE, Reason.SOURCE_READ, message, rules)
    for problem in new[:_TOLD_PROBLEMS]:
        record_event(tx, source, Reason.MANIFEST_INVALID, problem, now=rules.now, warning=True)
    if len(new) > _TOLD_PROBLEMS:
        note = f"and {_count(len(new) - _TOLD_PROBLEMS, 'more problem')}: see status.rejected"
        record_event(tx, source, Reason.MANIFEST_INVALID, note, now=rules.now, warning=True)


def report_unavailable(tx: Transaction, path: str, reason: Reason, message: str, rules: Rules) -> None:
    source = _source(tx, path, rules)
    _put(tx, source, source.status, Status.FALSE, reason, message, rules)


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
    new = tx.put(new.replace(status=new.status.replace(last_read=to_time(rules.now))))
    before = find(old.status.conditions, SourceCondition.READY)
    if (before.status if before is not None else Status.TRUE) is not ready:
        record_event(tx, new, reason, message, now=rules.now, warning=ready is Status.FALSE)
    return new


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
