"""Join codes and pseudonyms: short words of chance that people read aloud, type, and see on a wall."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from itertools import product

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""No two of these look alike: 0, 1, I, L and O are left out."""
LENGTH = 8

COLOURS = (
    "Amber", "Azure", "Beige", "Bronze", "Cobalt", "Copper", "Coral", "Crimson", "Cyan", "Emerald", "Golden", "Green",
    "Grey", "Hazel", "Indigo", "Ivory", "Jade", "Lilac", "Lime", "Maroon", "Mint", "Ochre", "Olive", "Orange",
    "Pearl", "Pink", "Purple", "Ruby", "Scarlet", "Silver", "Teal", "Violet",
)  # fmt: skip
ANIMALS = (
    "Badger", "Bear", "Beaver", "Bulbul", "Cat", "Cormorant", "Crane", "Deer", "Dolphin", "Eagle", "Egret", "Falcon",
    "Finch", "Fox", "Gecko", "Hare", "Heron", "Ibis", "Lynx", "Magpie", "Marten", "Otter", "Owl", "Pangolin",
    "Pheasant", "Robin", "Salmon", "Seal", "Swallow", "Turtle", "Whale", "Wren",
)  # fmt: skip


def fresh_code() -> str:
    """Return a join code."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normalised(code: str) -> str:
    """Return a code as it is kept, however it was typed: in small letters, in groups, with a full-width sign."""
    return "".join(sign for sign in code.upper() if sign.isalnum())


def fresh_pseudonyms(count: int, taken: Collection[str] = ()) -> list[str]:
    """Return so many names that nobody of a run has; 1024 are there."""
    free = [name for colour, animal in product(COLOURS, ANIMALS) if (name := f"{colour} {animal}") not in taken]
    return secrets.SystemRandom().sample(free, count)
