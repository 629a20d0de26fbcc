"""One folder per provider. Nothing is imported here: a driver loads when it is used."""
