"""The agent: one file on every node. Standard library and cloudpickle only; it never imports `skyward`."""

__version__ = "0.1.0"
