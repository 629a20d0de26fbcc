"""Manifest text ↔ words: parsing with line numbers, and edits that leave everything else as it was."""

from skyward.api.differences import FieldChange, diff_spec
from skyward.documents.editing import add, check_manifest, edit, remove_document, render
from skyward.documents.parsing import MAX_FILE_BYTES, BrokenDocument, Document, ParsedFile, opaque, parse_file
from skyward.documents.schema import manifest_schema

__all__ = [
    "MAX_FILE_BYTES",
    "BrokenDocument",
    "Document",
    "FieldChange",
    "ParsedFile",
    "add",
    "check_manifest",
    "diff_spec",
    "edit",
    "manifest_schema",
    "opaque",
    "parse_file",
    "remove_document",
    "render",
]
