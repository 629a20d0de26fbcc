"""The deterministic simulator: production code in a faulty world, on virtual time, with deaths that clean up nothing."""
