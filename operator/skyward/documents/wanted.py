"""What a document should say: as little as possible different from what its user wrote.

An API client sends back a whole spec, defaults included. Only what differs in meaning is changed; short forms and
values written out although they are the default stay, and defaults are not added.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from skyward.api import Json, PoolSpec
from skyward.documents.checking import expanded


def compact(spec: PoolSpec) -> Json:
    """The spec as a user would write it: no defaults, short forms where they say it all."""
    written = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    short: Json = {}
    for name, value in written.items():
        if name == "providers" and (provider := _short_provider(value)) is not None:
            short["provider"] = provider
        else:
            short[name] = _short_image(value) if name == "image" else value
    return short


def wanted_spec(raw: Json, new: PoolSpec) -> Json:
    """This spec, which the user wrote and which is valid, changed to mean what the new one means."""
    old = PoolSpec.model_validate(expanded(raw))
    written = new.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    plain = dict(raw)
    if "provider" in plain:
        plain = {("providers" if name == "provider" else name): value for name, value in raw.items()}
        plain["providers"] = [{"name": raw["provider"]}]
    if "offerings" in plain and old.offerings != new.offerings:
        plain["offerings"] = expanded(raw)["offerings"]
    merged = _merge(plain, _full(old), _full(new), written)
    if "provider" in raw and (provider := _short_provider(merged.get("providers"))) is not None:
        merged = {("provider" if name == "providers" else name): value for name, value in merged.items()}
        merged["provider"] = provider
    if "image" not in raw and "image" in merged:
        merged["image"] = _short_image(merged["image"])
    return merged


def same(one: Any, other: Any) -> bool:
    """Equal also in type: 1, 1.0 and true are three values."""
    return canonical(one) == canonical(other)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _full(spec: PoolSpec) -> Json:
    return spec.model_dump(mode="json", by_alias=True)


def _merge(raw: Json, old: Json, new: Json, written: Json) -> Json:
    merged: Json = {}
    for name, value in raw.items():
        if same(old.get(name), new.get(name)):
            merged[name] = value
        elif name in new and (kept := _merged_value(value, old.get(name), new[name], written.get(name))) is not None:
            merged[name] = kept
    for name, value in written.items():
        if name not in raw and not same(old.get(name), new.get(name)):
            merged[name] = value
    return merged


def _merged_value(raw: Any, old: Any, new: Any, written: Any) -> Any:
    """None for what need not be written any more."""
    if isinstance(raw, list) and isinstance(old, dict):  # a list of packages
        return _short_pip(written)
    if isinstance(raw, dict) and isinstance(old, dict) and isinstance(new, dict):
        return _merge(raw, old, new, written or {}) or None
    if isinstance(raw, list) and isinstance(old, list) and isinstance(new, list):
        return _merged_list(raw, old, new, written or []) or None
    return new if written is None else written


def _merged_list(raw: list[Any], old: list[Any], new: list[Any], written: list[Any]) -> list[Any]:
    """Items that mean the same stay as they were written."""
    matcher = difflib.SequenceMatcher(None, [canonical(item) for item in old], [canonical(item) for item in new], False)
    merged: list[Any] = []
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            merged.extend(raw[old_from:old_to])
        elif tag == "replace" and old_to - old_from == new_to - new_from:
            merged.extend(
                _merged_item(*items)
                for items in zip(
                    raw[old_from:old_to],
                    old[old_from:old_to],
                    new[new_from:new_to],
                    written[new_from:new_to],
                    strict=True,
                )
            )
        else:
            merged.extend(_short_step(item) for item in written[new_from:new_to])
    return merged


def _merged_item(raw: Any, old: Any, new: Any, written: Any) -> Any:
    if isinstance(raw, dict) and isinstance(new, dict):
        return _merge(raw, old, new, written)
    return _short_step(written)


def _short_provider(providers: Any) -> str | None:
    if isinstance(providers, list) and len(providers) == 1 and providers[0].keys() == {"name"}:
        return str(providers[0]["name"])
    return None


def _short_image(image: Json) -> Json:
    short = dict(image)
    if "pip" in short:
        short["pip"] = _short_pip(short["pip"])
    if "setup" in short:
        short["setup"] = [_short_step(step) for step in short["setup"]]
    return short


def _short_pip(pip: Any) -> Any:
    return pip["packages"] if isinstance(pip, dict) and pip.keys() == {"packages"} else pip


def _short_step(step: Any) -> Any:
    return step["run"] if isinstance(step, dict) and step.keys() == {"run"} else step
