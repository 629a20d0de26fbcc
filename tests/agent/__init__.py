"""The agent: its mind as a pure machine, its children as real processes, and all of it against a gateway."""
