"""Pure: what the agent does next. Stimuli in, commands out; no process, no socket, no clock."""
