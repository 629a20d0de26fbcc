"""Watched manifests: consistent snapshots, guards, last good kept; and the API's writes, which edit the files."""

from skyward.intake.applying import MANIFEST_FINALIZER
from skyward.intake.holding import HoldLimits
from skyward.intake.snapshot import APPROVAL, MARKER
from skyward.intake.source import DirectorySource

__all__ = ["APPROVAL", "MANIFEST_FINALIZER", "MARKER", "DirectorySource", "HoldLimits"]
