"""Protocol mutants: one promise of the operator broken on purpose, to prove that a checker would notice."""
