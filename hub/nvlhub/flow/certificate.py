"""What a certificate says, byte for byte, and whether it counts.

The document is JSON with sorted names and no spaces, in UTF-8; the signature (Ed25519, RFC 8032) is over exactly these bytes. So anybody
who has the bytes, the signature and the public key can verify it, with any library and without this portal. That it was not revoked
is what only the portal can say.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KIND = "nvlhub certificate 1"
"""What a document says it is: a signature under anything else is none of a certificate."""
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Signs of an id: none that is taken for another."""
ID = re.compile(rf"[{ALPHABET}]{{16}}")
"""16 signs are 79 bits: nobody finds one by trying."""
KEY = re.compile(r"[0-9a-f]{12}")
LONGEST = 20_000
"""Characters of a document that are looked at."""


class Verdict(StrEnum):
    """Whether a certificate counts."""

    VALID = "valid"
    REVOKED = "revoked"
    KEY_BROKEN = "key-broken"
    """The key that signed it became known to others."""
    FORGED = "forged"
    """The signature is not that of these bytes by this key."""
    UNKNOWN = "unknown"
    """This portal never issued it, or its signature is right but its key is not one of ours."""


@dataclass(frozen=True, slots=True)
class Achievement:
    """What somebody achieved."""

    id: str
    name: str
    name_latin: str
    course: str
    title: str
    title_zh: str
    repository: str
    commit: str
    run: int
    run_name: str
    score_milli: int
    grader: str
    """Digest of what judged it."""
    at: str
    """When it was handed in, in UTC, e.g. ``2027-03-14T01:02:03Z``."""


def document(what: Achievement, issuer: str, key: str) -> str:
    """Return the text that is signed."""
    return canonical({
        "kind": KIND, "id": what.id, "issuer": issuer, "key": key,
        "name": what.name, "name_latin": what.name_latin,
        "course": {
            "name": what.course, "title": what.title, "title_zh": what.title_zh, "repository": what.repository,
            "commit": what.commit,
        },
        "run": {"id": what.run, "name": what.run_name},
        "score": what.score_milli, "of": 1000, "grader": what.grader,
        "achieved": what.at,
    })  # fmt: skip


def canonical(value: Mapping[str, Any]) -> str:
    """Return JSON that is the same whoever writes it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def is_signed(text: str, signature: str, public: str) -> bool:
    """Tell whether a signature (base64) is that of these bytes by a public key (base64, raw). Never raises."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, ValueError, binascii.Error, UnicodeEncodeError):
        return False
    return True


def judge(text: str, signature: str, key: Mapping[str, Any] | None, *, revoked: bool) -> Verdict:
    """Return whether a certificate counts; `key`: the row of the key that the document names, None: there is none."""
    if key is None:
        return Verdict.UNKNOWN
    if not is_signed(text, signature, key["public"]) or read(text).get("key") != key["id"]:
        return Verdict.FORGED
    if key["broken_at"] is not None:
        return Verdict.KEY_BROKEN
    return Verdict.REVOKED if revoked else Verdict.VALID


def read(text: str) -> dict[str, Any]:
    """Return what a document says; nothing for what is no certificate."""
    if len(text) > LONGEST:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and said.get("kind") == KIND else {}
