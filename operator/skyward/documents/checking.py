"""From a document's value to a Pool, or to everything that is wrong with it: each fault with the path of its field as the
user wrote it, short forms included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from skyward.api import API_VERSION, KINDS, Json, ObjectMeta, OfferingSpec, Pool, PoolSpec, check_name
from skyward.api.pool import UNSUPPORTED, UNSUPPORTED_WITHIN
from skyward.api.providers import PROVIDERS
from skyward.documents import wording
from skyward.documents.tree import Path

USER_METADATA = ("name", "namespace", "labels", "annotations")
TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec")
MAX_CAUSES = 20
"""Of each kind, for one document: a file of rubbish is not worth more."""
_STAND_IN = "x"
_WAYS = ("ordered", "anyOf")
_LEADING_FIELD = re.compile(r"[A-Za-z][A-Za-z.]*")


@dataclass(frozen=True, slots=True)
class Cause:
    path: Path
    message: str

    @property
    def field(self) -> str:
        """Like `spec.image.pip[0]`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Checked:
    pool: Pool | None
    """None when there are causes."""
    causes: tuple[Cause, ...]


def check(raw: Any) -> Checked:
    """Never raises, whatever the value is."""
    if not isinstance(raw, dict):
        return _refused(
            Cause((), f"a document must be a mapping with apiVersion, kind, metadata and spec{wording.but_is(raw)}")
        )
    if wrong_kind := tuple(_kind(raw)):
        return _refused(*wrong_kind)
    found = chain(_top_level(raw), _metadata(raw.get("metadata")), _spec(raw.get("spec")))
    causes = list(islice(found, MAX_CAUSES))
    try:
        pool = Pool.model_validate(_cleaned(raw), strict=True, by_alias=True, by_name=False)
    except ValidationError as err:
        causes.extend(islice(_findings(err, raw), MAX_CAUSES))
    else:
        if not causes:
            return Checked(pool, ())
    return _refused(*dict.fromkeys(causes))


def _refused(*causes: Cause) -> Checked:
    return Checked(None, causes)


# --- what the models cannot say as well --------------------------------------------------------------------------------


def _kind(raw: Json) -> Iterator[Cause]:
    kind, version = raw.get("kind"), raw.get("apiVersion")
    if version is None:
        yield Cause(("apiVersion",), f"is required: write {API_VERSION}")
    elif version != API_VERSION:
        yield Cause(("apiVersion",), f"must be {API_VERSION}{wording.but_is(version)}")
    if kind is None:
        yield Cause(("kind",), "is required: write Pool")
    elif kind in {known.KIND for known in KINDS if known is not Pool}:
        yield Cause(("kind",), f"a {kind} is made by the operator; a manifest holds kind Pool")
    elif kind != Pool.KIND:
        yield Cause(("kind",), wording.unknown(kind if isinstance(kind, str) else str(kind), (Pool.KIND,), "kind"))


def _top_level(raw: Json) -> Iterator[Cause]:
    for name in raw:
        if name == "status":
            yield Cause((name,), "status is written by the operator; remove it")
        elif name not in TOP_LEVEL:
            yield Cause((name,), wording.unknown(name, TOP_LEVEL))


def _metadata(metadata: Any) -> Iterator[Cause]:
    if not isinstance(metadata, dict):
        return
    for name in metadata:
        if name in USER_METADATA:
            continue
        if name in _aliases(ObjectMeta):
            yield Cause(("metadata", name), f"{name} is set by the operator; remove it")
        else:
            yield Cause(("metadata", name), wording.unknown(name, USER_METADATA))
    yield from _bad_names(metadata)


def _bad_names(metadata: Json) -> Iterator[Cause]:
    for name in ("name", "namespace"):
        if isinstance(value := metadata.get(name), str):
            try:
                check_name(value)
            except ValueError as err:
                yield Cause(("metadata", name), str(err))


def _spec(spec: Any) -> Iterator[Cause]:
    if not isinstance(spec, dict):
        return
    for path in _unsupported(spec):
        yield Cause(("spec", *path), "is not supported by this version; remove it")
    if not spec.keys() & {"provider", "providers", "offerings"}:
        yield Cause(("spec", "providers"), "is required")
    for path, mapping in _choosing(spec):
        if "provider" not in mapping:
            continue
        if "providers" in mapping:
            yield Cause((*path, "provider"), "provider and providers exclude each other; keep one")
        elif not isinstance(mapping["provider"], str):
            yield Cause((*path, "provider"), f"must be the name of one provider{wording.but_is(mapping['provider'])}")


def _choosing(spec: Json) -> Iterator[tuple[Path, Json]]:
    """Every mapping that may say `provider` for short: the spec, and each way to get a machine."""
    yield ("spec",), spec
    if not isinstance(offerings := spec.get("offerings"), dict):
        return
    for name in _WAYS:
        entries = offerings.get(name)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                yield ("spec", "offerings", name, index), entry


def _unsupported(spec: Json) -> Iterator[Path]:
    yield from ((name,) for name in spec if name in UNSUPPORTED)
    for name, fields in UNSUPPORTED_WITHIN.items():
        if isinstance(part := spec.get(name), dict):
            yield from ((name, field) for field in part if field in fields)


# --- what the models are given ------------------------------------------------------------------------------------------


def _cleaned(raw: Json) -> Json:
    """The document without what was refused already, short forms expanded, lists as the tuples that strict models want."""
    cleaned: Json = {name: raw[name] for name in TOP_LEVEL if name in raw}
    if isinstance(metadata := raw.get("metadata"), dict):
        cleaned["metadata"] = {name: metadata[name] for name in USER_METADATA if name in metadata}
        cleaned["metadata"].update({cause.path[-1]: _STAND_IN for cause in _bad_names(metadata)})
    if isinstance(spec := raw.get("spec"), dict):
        cleaned["spec"] = expanded(_supported(spec))
        if not cleaned["spec"].keys() & {"providers", "offerings"}:
            cleaned["spec"]["providers"] = [{"name": "local"}]  # that it is missing was said
    return _with_tuples(cleaned)  # type: ignore[no-any-return]


def _supported(spec: Json) -> Json:
    refused = set(_unsupported(spec))
    return {
        name: {field: part for field, part in value.items() if (name, field) not in refused}
        if isinstance(value, dict)
        else value
        for name, value in spec.items()
        if (name,) not in refused
    }


def expanded(spec: Json) -> Json:
    """The spec with its short forms written out."""
    spec = _with_providers(spec)
    if isinstance(offerings := spec.get("offerings"), dict):
        spec["offerings"] = {
            name: [_with_providers(entry) if isinstance(entry, dict) else entry for entry in entries]
            if name in _WAYS and isinstance(entries, list)
            else entries
            for name, entries in offerings.items()
        }
    if isinstance(image := spec.get("image"), dict):
        image = spec["image"] = dict(image)
        if isinstance(packages := image.get("pip"), list):
            image["pip"] = {"packages": packages}
        if isinstance(steps := image.get("setup"), list):
            image["setup"] = [{"run": step} if isinstance(step, str) else step for step in steps]
    return spec


def _with_providers(mapping: Json) -> Json:
    mapping = dict(mapping)
    if "provider" in mapping:
        name = mapping.pop("provider")
        mapping.setdefault("providers", [{"name": name if isinstance(name, str) else "local"}])
    return mapping


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(_with_tuples(part) for part in value) if isinstance(value, list) else value


# --- what the models found ----------------------------------------------------------------------------------------------


def _findings(err: ValidationError, raw: Json) -> Iterator[Cause]:
    placed = [(_place(error, raw), error) for error in err.errors(include_url=False)]
    for path, group in groupby(placed, key=lambda pair: pair[0]):
        errors = [error for _, error in group]
        first = errors[0]
        if first["type"] == "too_short" and any(other[: len(path)] == path != other for other, _ in placed):
            continue  # its items are there, but each is wrong
        if first["type"] == "extra_forbidden":
            yield Cause(path, wording.unknown(str(path[-1]), _known_at(first["loc"][:-1])))
        else:
            yield Cause(path, wording.explain(errors).removeprefix(f"{path[-1]}: " if path else ""))


def _place(error: ErrorDetails, raw: Json) -> Path:
    """Where the user wrote what the models call by the long form's path."""
    path: list[str | int] = []
    here: Any = raw
    for part in error["loc"]:
        is_key = isinstance(here, dict) and part in here
        is_position = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if is_key or is_position:
            path.append(part)
            here = here[part]
        elif part == "providers" and isinstance(here, dict) and "provider" in here:
            return (*path, "provider")
    if error["type"] == "missing":
        path.append(error["loc"][-1])
    if error["type"] == "value_error":
        path.extend(_named_in(str(error["ctx"]["error"]), here))
    return tuple(path)


def _named_in(message: str, here: Any) -> Iterator[str]:
    """A check of a whole mapping names the field it is about first: `image.apt is refused …`."""
    leading = _LEADING_FIELD.match(message)
    for part in leading[0].split(".") if leading is not None else ():
        if not isinstance(here, dict) or part not in here:
            return
        yield part
        here = here[part]


def _known_at(location: tuple[int | str, ...]) -> set[str]:
    """Names of the fields that the mapping at this place may have."""
    model: type[BaseModel] = Pool
    for part in location:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if isinstance(part, str) and part in fields:
            model = next(iter(_models_in(fields[part].annotation)), model)
        elif isinstance(part, str) and part in PROVIDERS:
            model = PROVIDERS[part]
    return _aliases(model) | ({"provider"} if model in (PoolSpec, OfferingSpec) else set())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation
    elif get_origin(annotation) in (tuple, Union, UnionType, Annotated):
        for part in get_args(annotation):
            yield from _models_in(part)


def _aliases(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}
