"""Pure rules: a picture of the world and the time go in, plans with reasons come out."""
