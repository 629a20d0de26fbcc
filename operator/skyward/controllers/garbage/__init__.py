"""The sweep: instances that are ours and belong to nothing, and launches that nothing needs any more."""
