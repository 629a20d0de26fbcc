"""The judge of a chaos run. It shares no code with what it judges: standard library only, started without site-packages."""
