"""The real world behind `contracts.world`: clock, ids, files, processes, and this installation's keys."""
