"""A profile as YAML and as the fields of a form: what is typed -> what is meant, and what is wrong with it.

    YAML text ──► tree ◄── fields of a form
                   │
                   ▼
    Draft: a form of the API that can be sent, or faults by field; and the same as text on the other side

A tree is what was typed, by key: texts, lists of texts, mappings of texts. Like a file of rows it is read as text, and the
key decides what a text means; only hints have types of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from nvlhub.errors import BadInputError, NvlhubError
from nvlhub.exchange.reader import Pairs, Quoted, misnamed, parse, twice
from nvlhub.exchange.writer import DUMPER, WIDE
from nvlhub.forms import NewProfile
from nvlhub.forms.profiles import LARGEST
from nvlhub.wire import Span

TEXTS = ("name", "display_name", "pool", "span", "note")
WHOLE = ("version", "gpus", "longest", "idle")
WHO = ("programmes", "projects")
KEYS = (
    "name", "version", "display_name", "pool", "gpus", "span", "longest", "idle", "audience", "environment", "hints", "note",
)  # fmt: skip
"""What stands in a file, in the order in which it is written. ``version``: the one that the file was made from."""
MAPPINGS = ("audience", "environment", "hints")
SHOWN = 20
"""Faults that are told at most."""

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a field; one inside another is named with a dot; empty: all of it."""

    field: str
    error: NvlhubError


@dataclass(frozen=True, slots=True)
class Draft:
    """A profile as far as it could be read."""

    profile: NewProfile | None
    base: int | None
    """The version that it says it was made from."""
    faults: tuple[Wrong, ...]
    fields: dict[str, str] | None
    """None: it cannot be read at all."""
    yaml: str


def read_yaml(text: str) -> Draft:
    """Return what a YAML text means."""
    try:
        found = _parsed(text)
    except BadInputError as error:
        return Draft(None, None, (Wrong("", error),), None, text)
    faults: list[Wrong] = []
    tree = dict(_checked(found, KEYS, "", faults))
    for name in MAPPINGS:
        if name in tree:
            tree[name] = _mapping(name, tree[name], faults)
    return _draft(tree, faults, yaml_text=text)


def _parsed(text: str) -> Pairs:
    """Return the mapping that a text holds. Raises `BadInputError`."""
    if len(text.encode("utf-8", "replace")) > LARGEST:
        raise BadInputError("profile-too-large", most=LARGEST)
    try:
        found = parse(text)
    except BadInputError as error:
        raise BadInputError("profile-shape", **error.members) if error.slug == "import-shape" else error from None
    if not isinstance(found, Pairs) or not all(isinstance(name, str) for name, _ in found.pairs):
        raise BadInputError("profile-shape", line=1)
    return found


def read_fields(fields: Mapping[Any, str]) -> Draft:
    """Return what the fields of a form mean."""
    faults: list[Wrong] = []
    tree: Tree = {name: fields[name].strip() or None for name in (*TEXTS, *WHOLE) if name in fields}
    audience = {name: re.split(r"[\s,;]+", fields[name].strip()) for name in WHO if fields.get(name, "").strip()}
    tree["audience"] = audience
    tree["environment"] = dict(_lines(fields.get("environment", ""), "environment", faults))
    hints: dict[str, dict[str, Any]] = {}
    for name, value in _lines(fields.get("hints", ""), "hints", faults):
        engine, dot, key = name.partition(".")
        if not dot:
            faults.append(Wrong("hints", BadInputError("profile-hint-line", given=name[:80])))
        else:
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            hints.setdefault(engine, {})[key] = Quoted(value[1:-1]) if quoted else value
    tree["hints"] = hints
    return _draft({name: tree[name] for name in KEYS if tree.get(name)}, faults, fields=dict(fields))


def write_yaml(profile: Mapping[str, Any]) -> str:
    """Return a profile as YAML; what is empty or not told is left out."""
    plain = {name: _plain(profile[name]) for name in KEYS if profile.get(name) not in (None, "", {}, [], ())}
    if "audience" in plain:
        plain["audience"] = {name: slugs for name, slugs in plain["audience"].items() if slugs}
        if not plain["audience"]:
            del plain["audience"]
    return str(
        yaml.dump(plain, Dumper=DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=False, width=WIDE)
    )


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case Quoted():
            return str(value)
        case _:
            return value


# --- typed -> tree ----------------------------------------------------------------------------------------------------


def _lines(text: str, field: str, faults: list[Wrong]) -> Iterator[tuple[str, str]]:
    """Yield name and value of lines like ``NAME=value``."""
    seen: set[str] = set()
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, sign, value = line.partition("=")
        name = name.strip()
        if not sign or not name:
            faults.append(Wrong(field, BadInputError("profile-line", given=line[:80])))
        elif name in seen:
            faults.append(Wrong(field, BadInputError("profile-key-twice", names=name[:80])))
        else:
            seen.add(name)
            yield name, value.strip()


def _checked(found: Pairs, known: tuple[str, ...], within: str, faults: list[Wrong]) -> Iterator[tuple[str, Any]]:
    """Yield the keys that there may be, once each; what is unknown or stands twice is a fault."""
    names = [str(name) for name, _ in found.pairs]
    wrong = {"profile-key-unknown": set(names) - set(known), "profile-key-twice": twice(names)}
    faults += [Wrong(f"{within}{fault.field}", fault.error) for fault in misnamed(None, 0, wrong, known)]
    seen: set[str] = set()
    for name, value in found.pairs:
        if name in known and name not in seen:
            seen.add(name)
            yield name, value


def _mapping(name: str, value: Any, faults: list[Wrong]) -> Tree:
    """Return a key that holds a mapping: of lists (audience), of texts (environment), of mappings (hints)."""
    inner = _pairs(name, value, faults)
    match name:
        case "audience":
            return dict(_checked(inner, WHO, "audience.", faults))
        case "hints":
            return {engine: dict(_pairs(f"hints.{engine}", one, faults).pairs) for engine, one in inner.pairs}
        case _:
            return {key: "" if one is None else one for key, one in inner.pairs}


def _pairs(field: str, value: Any, faults: list[Wrong]) -> Pairs:
    """Return what a mapping holds; anything else is a fault, and so is a key that stands twice."""
    if value is None:
        return Pairs([])
    if not isinstance(value, Pairs) or not all(isinstance(key, str) for key, _ in value.pairs):
        faults.append(Wrong(field[:120], BadInputError("profile-mapping", field=field[:120])))
        return Pairs([])
    found = misnamed(None, 0, {"profile-key-twice": twice(str(key) for key, _ in value.pairs)}, ())
    faults += [Wrong(f"{field[:80]}.{fault.field}", fault.error) for fault in found]
    return value


# --- tree -> draft ----------------------------------------------------------------------------------------------------


def _draft(tree: Tree, faults: list[Wrong], *, yaml_text: str = "", fields: dict[str, str] | None = None) -> Draft:
    values: Tree = {}
    for name, value in tree.items():
        try:
            values[name] = _value(name, value)
        except BadInputError as error:
            faults.append(Wrong(str(error.members["field"]), error))
    base = values.pop("version", None)
    profile = None
    try:
        profile = NewProfile(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        known = {fault.field for fault in faults}
        faults += [fault for fault in _invalid(error) if fault.field not in known]
    return Draft(
        None if faults else profile, base, tuple(faults[:SHOWN]),
        fields=_fields(tree) if fields is None else fields, yaml=yaml_text or write_yaml({**tree, **_typed(values, base)}),
    )  # fmt: skip


def _typed(values: Tree, base: int | None) -> Tree:
    return values if base is None else {**values, "version": base}


def _value(name: str, value: Any) -> Any:
    """Return what a value of a tree means. Raises `BadInputError` that names its `field`."""
    match name:
        case "audience":
            return {key: _texts(f"audience.{key}", slugs) for key, slugs in value.items()}
        case "environment":
            return {key: _text(f"environment.{key}", one) for key, one in value.items()}
        case "hints":
            return {
                engine: {key: _hint(f"hints.{engine}.{key}", one) for key, one in told.items()}
                for engine, told in value.items()
            }
        case _ if value is None:
            return None
        case _ if name in WHOLE:
            text = _text(name, value)
            if len(text) <= 40 and text.isascii() and text.isdigit():
                return int(text)
            raise BadInputError("import-not-whole", field=name)
        case _:
            return _text(name, value)


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInputError("profile-single", field=field)
    return str(value)


def _texts(field: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInputError("profile-list", field=field)
    return [_text(field, one) for one in value]


def _hint(field: str, value: Any) -> str | int | float | bool:
    """Return what a hint means: plain ``true`` and ``12`` are no texts, quoted ones are."""
    text = _text(field, "" if value is None else value)
    if isinstance(value, Quoted):
        return text
    if text in {"true", "false"}:
        return text == "true"
    if re.fullmatch(r"-?[0-9]{1,15}", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]{1,15}\.[0-9]{1,15}", text):
        return float(text)
    return text


def _invalid(error: ValidationError) -> Iterator[Wrong]:
    seen: set[str] = set()
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        place = [str(part) for part in one["loc"] if part != "[key]"]
        # What follows is which of several types a hint failed to be, or where in a list.
        field = ".".join(place[: {"hints": 3, "audience": 2, "environment": 2}.get(place[0], 1)])[:120]
        if field in seen:
            continue
        seen.add(field)
        if slug := _slug(place, one["type"]):
            yield Wrong(field, BadInputError(slug, field=field))
        else:
            yield Wrong(field, BadInputError("invalid-input", field=field, allowed_text=one["msg"]))


def _slug(place: list[str], kind: str) -> str:
    """Return the sentence for what is wrong; empty: what the shape itself says of it."""
    if place[0] == "hints" and len(place) > 2:
        return "profile-hint-value"
    if kind == "missing":
        return "profile-missing"
    if kind != "string_pattern_mismatch":
        return ""
    if place[0] in {"name", "pool", "audience"}:
        return "profile-signs-name"
    return "profile-signs-variable" if place[0] == "environment" else "profile-signs-text"


# --- tree -> fields ---------------------------------------------------------------------------------------------------


def _fields(tree: Tree) -> dict[str, str]:
    """Return a tree as the fields of a form."""
    shown = {name: _shown(tree.get(name)) for name in (*TEXTS, *WHOLE)}
    shown["span"] = shown["span"] or Span.DOMAIN.value
    audience = tree.get("audience") or {}
    for name in WHO:
        slugs = audience.get(name)
        shown[name] = " ".join(_shown(one) for one in slugs) if isinstance(slugs, list) else _shown(slugs)
    environment = tree.get("environment") or {}
    shown["environment"] = "\n".join(f"{name}={_shown(value)}" for name, value in environment.items())
    hints = tree.get("hints") or {}
    shown["hints"] = "\n".join(
        f"{engine}.{key}={_hinted(value)}" for engine, told in hints.items() for key, value in told.items()
    )
    return shown


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _hinted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, Quoted) else _shown(value)
