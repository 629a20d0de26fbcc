"""A blob from where it is kept, past the operator."""

from __future__ import annotations

import logging

from skyward_agent.wire.parts import PartFile

_log = logging.getLogger("skyward_agent.link")
_SILENT_S = 20.0
_READ_BYTES = 1024 * 1024
_PARTIAL = 206


def download(url: str, part: PartFile) -> bool:
    """The rest of the part from this address; blocks. False when that is not to be had: what came stays."""
    import http.client  # slow to load, and most nodes never need them
    import urllib.request

    request = urllib.request.Request(url, headers={"Range": f"bytes={part.received}-"})
    try:
        with urllib.request.urlopen(request, timeout=_SILENT_S) as answer:
            if part.received and answer.status != _PARTIAL:
                return False  # it gives all or nothing
            while data := answer.read(_READ_BYTES):
                part.append((data,))
    except (OSError, http.client.HTTPException) as error:
        _log.warning("payload not read from its store error=%s", error)
        return False
    return True
