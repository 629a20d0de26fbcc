"""The agent: one file on every node. Standard library and cloudpickle only; it never imports `skyward`."""
