"""The store: objects with versions, launches, credentials and tasks in one SQLite file, behind one writer."""

from skyward.store.credentials import StoreCredentials
from skyward.store.objects import Retention
from skyward.store.store import SqlStore, memory_store, open_store

__all__ = ["Retention", "SqlStore", "StoreCredentials", "memory_store", "open_store"]
