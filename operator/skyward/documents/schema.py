"""JSON schema of a manifest document, for editors: what a user may write, short forms included."""

from __future__ import annotations

from typing import Any

from skyward.api import API_VERSION, Json, Pool
from skyward.api.providers import PROVIDERS, SUPPORTED
from skyward.documents.checking import TOP_LEVEL, USER_METADATA


def manifest_schema() -> Json:
    schema = Pool.model_json_schema(by_alias=True, mode="validation")
    definitions = schema["$defs"]
    schema["properties"] = {name: schema["properties"][name] for name in TOP_LEVEL}
    schema["properties"]["apiVersion"] = {"const": API_VERSION}
    schema["properties"]["kind"] = {"const": Pool.KIND}
    schema["required"] = list(TOP_LEVEL)
    metadata = definitions["ObjectMeta"]["properties"]
    definitions["ObjectMeta"]["properties"] = {name: metadata[name] for name in USER_METADATA}
    _add_short_forms(definitions)
    schema["$defs"] = {name: definitions[name] for name in sorted(_reachable(schema, definitions))}
    _drop_titles(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Skyward pool manifest",
        **{name: part for name, part in schema.items() if name != "title"},
    }


def _add_short_forms(definitions: Json) -> None:
    spec, entry = definitions["PoolSpec"], definitions["OfferingSpec"]
    short = {"description": "Short for a list of one provider.", "enum": list(SUPPORTED)}
    spec["properties"]["provider"] = {**short, "x-skyward-change": "replace"}
    entry["properties"]["provider"] = short
    spec["oneOf"] = [{"required": [name]} for name in ("provider", "providers", "offerings")]
    entry["oneOf"] = [{"required": [name]} for name in ("provider", "providers")]
    entry.pop("required")
    ours = [{"$ref": f"#/$defs/{model.__name__}"} for model in PROVIDERS.values()]
    for part in (spec, entry):
        part["properties"]["providers"]["items"] = ours[0] if len(ours) == 1 else {"oneOf": ours}
    image = definitions["ImageSpec"]["properties"]
    packages = {"type": "array", "items": {"type": "string"}}
    image["pip"] = {
        "description": image["pip"]["description"],
        "anyOf": [packages, {"$ref": "#/$defs/PipSpec"}],
    }
    image["setup"]["items"] = {"anyOf": [{"type": "string"}, image["setup"]["items"]]}


def _reachable(part: Any, definitions: Json) -> set[str]:
    """Names of the definitions that what a user may write leads to."""
    found: set[str] = set()
    waiting = [{name: value for name, value in part.items() if name != "$defs"}]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(definitions[name])
    return found


def _references(part: Any) -> set[str]:
    if isinstance(part, list):
        return {name for item in part for name in _references(item)}
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"].removeprefix("#/$defs/")} if isinstance(part.get("$ref"), str) else set()
    return own | {name for value in part.values() for name in _references(value)}


def _drop_titles(part: Any) -> None:
    """Generated titles only repeat the names."""
    if isinstance(part, list):
        for item in part:
            _drop_titles(item)
    elif isinstance(part, dict):
        if isinstance(part.get("title"), str):
            del part["title"]
        for value in part.values():
            _drop_titles(value)
