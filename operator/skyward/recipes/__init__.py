"""What a node must have, as ordered steps rendered to one idempotent shell script. Pure."""

from skyward.recipes.image import build_recipe
from skyward.recipes.journal import Entry, Mark, parse_line
from skyward.recipes.quoting import quote
from skyward.recipes.steps import Recipe, Step

__all__ = ["Entry", "Mark", "Recipe", "Step", "build_recipe", "parse_line", "quote"]
