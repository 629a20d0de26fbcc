"""The wire: messages that agents, clients and the gateway share, their frames, and the connection that carries them. Standard
library only; nothing here decides what a message leads to."""
