"""Protocols between rooms: what a mechanism needs and a plug provides. No behaviour here."""

from skyward.contracts.driver import Driver, DriverFacts, HostKeyTrust
from skyward.contracts.manifests import Manifest, ManifestWriter
from skyward.contracts.nodes import AgentLink, Bootstrapper, Credentials
from skyward.contracts.output import OutputLog
from skyward.contracts.queue import (
    Accepted,
    Holder,
    PoolDirectory,
    PoolFacts,
    QueueListener,
    Rank,
    Submission,
    TaskQueue,
)
from skyward.contracts.store import (
    KEPT_FAILURES,
    Change,
    Credential,
    CredentialKind,
    EndRow,
    FencedStore,
    ItemRow,
    Lease,
    LeaseRow,
    Store,
    TaskRow,
    TaskRows,
    Transaction,
    Verb,
)
from skyward.contracts.world import Clock, FileInfo, Files, Ids, Processes, ProcessId

__all__ = [
    "KEPT_FAILURES",
    "Accepted",
    "AgentLink",
    "Bootstrapper",
    "Change",
    "Clock",
    "Credential",
    "CredentialKind",
    "Credentials",
    "Driver",
    "DriverFacts",
    "EndRow",
    "FencedStore",
    "FileInfo",
    "Files",
    "Holder",
    "HostKeyTrust",
    "Ids",
    "ItemRow",
    "Lease",
    "LeaseRow",
    "Manifest",
    "ManifestWriter",
    "OutputLog",
    "PoolDirectory",
    "PoolFacts",
    "ProcessId",
    "Processes",
    "QueueListener",
    "Rank",
    "Store",
    "Submission",
    "TaskQueue",
    "TaskRow",
    "TaskRows",
    "Transaction",
    "Verb",
]
