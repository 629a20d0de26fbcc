"""The peers in an environment of their own, below `.cache/peers`: made once, from a lock of its own, and again when that changes.

Nothing of it is a dependency of Skyward. A Redis server comes from the PATH, or else out of Debian's packages, which are
unpacked there and not installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "peers"
_LOCK = Path(__file__).with_name("requirements.txt")
_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")
_INSTALL_S = 600.0


class Missing(Exception):
    """A peer cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Redis:
    server: Path
    libraries: Path | None
    """Where what it links to lies, when it is not installed."""


def python_of_peers() -> Path:
    """The interpreter that has Ray, Dask and Celery; installs them. Raises Missing."""
    home = CACHE / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {home.relative_to(ROOT)} …", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        _call([sys.executable, "-m", "venv", home])
        _call(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", _LOCK]
        )
        stamp.write_text(wanted)
    return python


def redis() -> Redis:
    """Raises Missing."""
    found = shutil.which("redis-server")
    if found:
        return Redis(Path(found), None)
    root = CACHE / "redis"
    server = root / "usr" / "bin" / "redis-server"
    if not server.exists():
        _unpack_redis(root)
    libraries = sorted((root / "usr" / "lib").glob("*-linux-gnu*"))
    return Redis(server, libraries[0] if libraries else None)


def _unpack_redis(root: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing("no redis-server on the PATH, and this is no Debian to fetch it from")
    print(f"fetching Debian's redis-server into {root.relative_to(ROOT)} …", file=sys.stderr)
    unpacked, packages = root.with_suffix(".new"), root.with_suffix(".packages")
    for directory in (root, unpacked, packages):
        shutil.rmtree(directory, ignore_errors=True)
    packages.mkdir(parents=True)
    _call(["apt-get", "download", "--quiet", *_PACKAGES], cwd=packages)
    for package in sorted(packages.glob("*.deb")):
        _call(["dpkg-deb", "--extract", package, unpacked])
    unpacked.rename(root)
    shutil.rmtree(packages)


def _call(argv: list[str | Path], cwd: Path | None = None) -> None:
    """Its output is shown only when it fails."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, cwd=cwd, env=dict(os.environ), capture_output=True, text=True, timeout=_INSTALL_S, check=False
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise Missing(f"`{' '.join(words[:4])} …` failed: {last[0]}")
