"""The base of all configs, and the one way to load them."""

import difflib
import types
import typing
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ocr_pipeline.errors import ConfigError


class Config(BaseModel):
    """Frozen; an unknown key is an error at every level; fields carry a docstring with the unit."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


ConfigT = TypeVar("ConfigT")


_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """YAML without arbitrary objects, and without a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(
    schema: TypeAdapter[ConfigT], path: Path | None, overrides: Sequence[str] = ()
) -> ConfigT:
    """Read one YAML file, apply ``key=value`` overrides, validate.

    Args:
        schema: adapter of the config type, e.g. ``TypeAdapter(TrainConfig)`` (unions allowed).
        path: YAML file, UTF-8; None: the defaults alone.
        overrides: dotted keys, e.g. ``["optim.lr=3e-4", "seed=7"]``; later ones win. The value is
            read as YAML, so ``null``, ``true`` and ``[1, 2]`` mean what they mean in the file.

    Returns:
        A frozen config; loading it again from its own dump gives an equal one.

    Raises:
        ConfigError: file missing, not a mapping, an override without ``=``, an unknown key or a
            bad value. All faults in one message, each with its dotted key.
    """
    values = _read_mapping(path) if path else {}
    for override in overrides:
        _apply_override(values, override)
    try:
        return schema.validate_python(values)
    except ValidationError as error:
        faults = [_explain(fault, schema) for fault in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{path or 'config'}: {fault}" for fault in faults)) from None


def overrides_from(
    environment: Mapping[str, str], prefix: str, schema: TypeAdapter[Any]
) -> list[str]:
    """Return what variables of the environment set, as overrides for :func:`load_config`.

    Args:
        environment: e.g. ``os.environ``.
        prefix: of the variables that count, e.g. ``OCR_SERVE``; two underscores stand before each
            key: ``OCR_SERVE__ENGINE__THREADS=2`` is ``engine.threads=2``.
        schema: adapter of the config type.

    Raises:
        ConfigError: a variable with this prefix that names no key; all of them in one message.
    """
    start = f"{prefix}__"
    keys = {key.upper().replace(".", "__"): key for key in _dotted_keys(schema._type)}
    overrides, faults = [], []
    for name, value in environment.items():
        if not name.upper().startswith(start):
            continue
        key = keys.get(name[len(start) :])
        if key:
            overrides.append(f"{key}={value}")
            continue
        close = _closest(name[len(start) :], list(keys))
        meant = f" (did you mean {start}{close}?)" if close else ""
        faults.append(f"environment: {name}: unknown key{meant}")
    if faults:
        raise ConfigError("\n".join(faults))
    return overrides


def dump_config(config: Config, path: Path) -> None:
    """Write a config as YAML that :func:`load_config` reads back to an equal one."""
    text = yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )
    path.write_text(text, encoding="utf-8")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this config file ({error.strerror}); give the path of a YAML "
            "file, see the folder configs/ for examples"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    try:
        # _StrictLoader is a SafeLoader: it builds plain values only.
        values = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: the file holds a {type(values).__name__}; it must hold `key: value` lines"
        )
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ConfigError(
            f"override {override!r}: expected key=value, e.g. optim.lr=3e-4 (a dot: one level down)"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML: {error}") from None
    target = values
    for depth, part in enumerate(parts[:-1], start=1):
        child = target.setdefault(part, {})
        if child is None:
            child = target[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(
                f"override {override!r}: {'.'.join(parts[:depth])} is the value {child!r}, "
                "it has no keys below it"
            )
        target = child
    target[parts[-1]] = value


def _explain(fault: Mapping[str, Any], schema: TypeAdapter[Any]) -> str:
    location, model = _walk(schema._type, tuple(fault["loc"]))
    key = ".".join(location) or "(whole file)"
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggest(location, model, schema, tuple(fault['loc']))}"
    if fault["type"] == "missing":
        return f"{key}: missing; this key has no default and must be given"
    if fault["type"] == "union_tag_invalid":
        which = fault["ctx"]
        key = ".".join([*location, which["discriminator"].strip("'()")])
        return f"{key}: {which['tag']!r}; allowed: {which['expected_tags']}"
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{key}: {message}, got {fault['input']!r}"


def _suggest(
    location: Sequence[str],
    model: type[BaseModel] | None,
    schema: TypeAdapter[Any],
    loc: tuple[Any, ...],
) -> str:
    *parents, name = location
    siblings = sorted(model.model_fields) if model else []
    close = _closest(name, siblings)
    if close:
        return f" (did you mean {'.'.join([*parents, close])}?)"
    keys = _dotted_keys(_chosen(schema._type, loc))
    everywhere = {dotted.rsplit(".", 1)[-1]: dotted for dotted in keys}
    elsewhere = _closest(name, list(everywhere))
    if elsewhere:
        return f" (did you mean {everywhere[elsewhere]}?)"
    return f" (allowed here: {', '.join(siblings)})" if siblings else ""


def _closest(name: str, names: Sequence[str]) -> str | None:
    lowered = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """All pydantic models that an annotation can hold: itself, union members, Annotated inner."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType):
        for inner in typing.get_args(annotation):
            yield from _models_in(inner)


def _chosen(annotation: Any, loc: tuple[Any, ...]) -> Any:
    """The member of a union that pydantic names first in a location; else ``annotation`` itself."""
    members = list(_models_in(annotation))
    if len(members) > 1 and loc:
        for member in members:
            fields = member.model_fields.values()
            if any(loc[0] in typing.get_args(field.annotation) for field in fields):
                return member
    return annotation


def _walk(annotation: Any, loc: tuple[Any, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """Turn pydantic's location into a dotted key, and find the model that holds its last part.

    In a union pydantic puts the tag of the chosen member into the location; it is no key of the
    file, so it is left out here.
    """
    chosen = _chosen(annotation, loc)
    if chosen is not annotation:
        return _walk(chosen, loc[1:])
    models = list(_models_in(annotation))
    model = models[0] if len(models) == 1 else None
    if len(loc) <= 1:
        return [str(part) for part in loc], model
    field = model.model_fields.get(str(loc[0])) if model else None
    rest_keys, holder = _walk(field.annotation if field else None, loc[1:])
    return [str(loc[0]), *rest_keys], holder


def _dotted_keys(annotation: Any, prefix: str = "") -> Iterator[str]:
    for model in _models_in(annotation):
        for name, field in model.model_fields.items():
            yield f"{prefix}{name}"
            yield from _dotted_keys(field.annotation, f"{prefix}{name}.")
