"""What nodes owe the task queue: the attempts of lost agents end, and old tasks are collected."""
