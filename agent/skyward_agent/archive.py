"""How the agent file starts: it unpacks itself once beside itself, so that compiled modules are kept.

A zip is compiled anew at each start, by the agent and by each of its children; that costs more than all else together.
The directory is named after the file's digest and appears by one rename: it is complete or absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path


def start() -> None:
    """Run the agent from the archive that is first on `sys.path`; from its unpacked copy where one can be made."""
    archive = Path(sys.path[0])
    library = unpacked(archive)
    if library is not None:
        sys.path[0] = str(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "skyward_agent"]:
            del sys.modules[name]
    from skyward_agent.main import main

    main()


def unpacked(archive: Path) -> Path | None:
    """The directory with this archive's content. None when the archive's directory takes no files."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    library = archive.parent / f"lib-{digest}"
    if library.is_dir():
        return library
    import compileall  # only the first start needs these
    import zipfile

    temporary = archive.parent / f".lib-{digest}.{os.getpid()}"
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(temporary)
        compileall.compile_dir(temporary, quiet=2, stripdir=str(temporary), prependdir=str(library))
        with contextlib.suppress(OSError):  # another start was quicker
            temporary.rename(library)
    except OSError:
        return None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return library if library.is_dir() else None


def remove_older(home: Path, current: Path) -> None:
    """Remove unpacked copies of other versions. Only for the holder of the agent's lock."""
    for path in (*home.glob("lib-*"), *home.glob(".lib-*")):
        if path != current:
            shutil.rmtree(path, ignore_errors=True)
