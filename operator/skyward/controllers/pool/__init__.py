"""The pool reconciler: rows only. It plans how many nodes there are and of what, and never calls a provider."""
