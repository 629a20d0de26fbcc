"""What the node says of itself: load, memory, disk, accelerators."""
