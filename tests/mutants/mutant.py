"""One mutant, and how it gets into a process: modules are compiled from their source with one place changed, in memory.

No file is touched, so that many processes may run different mutants of one checkout at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from tests.mutants.trials import Trial


class StaleMutant(Exception):
    """The place that a mutant changes is not, or not only once, in the source any more."""


@dataclass(frozen=True, slots=True)
class Edit:
    module: str
    old: str
    """A piece of the module's source that occurs in it exactly once."""
    new: str

    def apply(self, source: str) -> str:
        """Raises StaleMutant."""
        found = source.count(self.old)
        if found != 1:
            raise StaleMutant(f"a piece of {self.module} occurs {found} times, write it anew: {self.old.strip()}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    breaks: str
    """Id of the invariant that it breaks, as in docs/reliability.md."""
    edits: tuple[Edit, ...]
    """One place; several where the promise has several lines of defence, each of which keeps it alone."""
    trials: tuple[Trial, ...]
    """Who must notice, in the order in which they are asked."""
    note: str
    """What goes wrong in the world when this promise is broken."""

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edit.module for edit in self.edits))

    def mutate(self, module: str, source: str) -> str:
        """Raises StaleMutant."""
        for edit in self.edits:
            if edit.module == module:
                source = edit.apply(source)
        return source


def install(mutant: Mutant) -> None:
    """From now on imports of its modules give the mutant. Raises RuntimeError when one is imported already."""
    imported = [module for module in mutant.modules if module in sys.modules]
    if imported:
        raise RuntimeError(f"{', '.join(imported)} is imported already: a mutant must come first")
    sys.meta_path.insert(0, _Finder(mutant))


def sources(modules: Iterable[str]) -> dict[str, str]:
    """As they are, by module; nothing is imported but their packages."""
    return {module: _loader(module).get_source(module) or "" for module in modules}


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._mutant.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, self._mutant)
        return spec


class _Loader(SourceFileLoader):
    """Compiles anew each time: a cached compilation would be of the module as it is."""

    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self._mutant.mutate(fullname, self.get_data(self.path).decode())
        return compile(source, self.path, "exec", dont_inherit=True)


def _loader(module: str) -> SourceFileLoader:
    path: list[str] | None = None
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:number]), path)
        if spec is None:
            raise StaleMutant(f"there is no module {module}")
        path = list(spec.submodule_search_locations or ())
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise StaleMutant(f"{module} has no source")
    return spec.loader
