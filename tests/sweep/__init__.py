"""The crash sweep: short stories, told undisturbed and then once for every touch of the world at which the operator may die."""
