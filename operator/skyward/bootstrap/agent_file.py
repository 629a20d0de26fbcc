"""The agent as one file: `skyward_agent` and cloudpickle in a zip that Python runs. Same sources, same bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from importlib.resources import files
from importlib.resources.abc import Traversable

_PACKAGES = ("cloudpickle", "skyward_agent")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The only time there is in the archive; the earliest that a zip can hold."""
_START = b"""import sys

if sys.version_info < (3, 11):
    sys.exit("skyward-agent needs Python 3.11 or newer, this is " + sys.version.split()[0])

from skyward_agent.archive import start

start()
"""


@cache
def build_agent_file() -> bytes:
    """The file that a node runs as `python agent.pyz run --home DIR`. Built once per process."""
    content = {"__main__.py": _START}
    for package in _PACKAGES:
        content.update(_sources(files(package), package))
    content["cloudpickle/LICENSE"] = _license("cloudpickle")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content[name])
    return archive.getvalue()


def digest_of(agent_file: bytes) -> str:
    """What a build of the agent is known by; an agent tells it of its own, and it names its unpacked copy."""
    return hashlib.sha256(agent_file).hexdigest()[:16]


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif entry.name.endswith(".py"):
            yield name, entry.read_bytes()


def _license(package: str) -> bytes:
    """What its terms ask to travel with the copy."""
    for path in distribution(package).files or ():
        if path.name.upper().startswith("LICENSE"):
            return path.read_binary()
    return b""
