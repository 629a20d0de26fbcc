"""Stand-ins with behaviour for every contract: they share one virtual clock and survive a restart of the operator."""
