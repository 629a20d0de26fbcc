"""The wire: messages that agents, clients and the gateway share. Standard library only, no logic."""
