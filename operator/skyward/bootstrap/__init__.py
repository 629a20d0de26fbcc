"""Making an instance run the agent: one SSH channel per node, and the agent as one file."""
