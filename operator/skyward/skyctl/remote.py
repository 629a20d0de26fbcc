"""What `skyctl run` runs on a node. Sent by value: the node has no skyctl, so only the standard library may be used."""

from __future__ import annotations


def run_script(source: str, name: str, argv: list[str]) -> int:
    """Run a script's text as `__main__`, like `python NAME ARGV…` does; its exit status."""
    import linecache
    import sys
    import traceback
    import types

    module = types.ModuleType("__main__")
    module.__file__ = name
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    saved = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = module, [name, *argv]
    try:
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's own script
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        return 1
    except BaseException as error:
        trace = error.__traceback__
        traceback.print_exception(type(error), error, trace.tb_next if trace is not None else None)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.modules["__main__"], sys.argv = saved
