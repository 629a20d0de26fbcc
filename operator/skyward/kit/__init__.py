"""The controller kit: what every control loop needs and none should write again."""
