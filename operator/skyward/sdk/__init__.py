"""What programs use: `import skyward as sky`. A session, handles of pools, and functions that run on their nodes."""
