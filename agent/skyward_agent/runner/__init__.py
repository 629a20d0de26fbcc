"""Running user code: the child process and what its parent needs to start, feed, watch and end it."""
