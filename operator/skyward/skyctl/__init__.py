"""skyctl: kubectl's verbs, flags and exit codes for pools, nodes and tasks."""
