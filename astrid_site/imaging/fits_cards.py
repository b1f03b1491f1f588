"""Header cards from raw bytes, without astropy: the gate must not trust a parser it protects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

CARD = 80
BLOCK = 2880

CardValue = str | int | float | bool
Card = tuple[str, CardValue | None]

_KEYWORD = re.compile(rb"[A-Z0-9_-]{1,8} *")
_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d{1,5})?")
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "END"})


def is_end(card: bytes) -> bool:
    """Whether a card closes its header."""
    return card[:8].rstrip() == b"END"


def parse_cards(raw: Iterable[bytes]) -> tuple[Card, ...]:
    """Keyword and value of every value card, long strings joined; commentary is dropped."""
    cards: list[Card] = []
    for card in raw:
        if card[:8] == b"CONTINUE":
            _continue_string(cards, card)
            continue
        parsed = parse_card(card)
        if parsed is not None:
            cards.append(parsed)
    return tuple(cards)


def parse_card(card: bytes) -> Card | None:
    """Keyword and value of one card; None for commentary and for what is no card."""
    if card[:9] == b"HIERARCH ":
        return _hierarch(card)
    if card[8:9] != b"=" or not _KEYWORD.fullmatch(card[:8]):
        return None
    keyword = card[:8].decode("ascii").strip()
    if keyword in _COMMENTARY:
        return None
    return keyword, parse_value(_text(card[9:]))


def parse_value(text: str) -> CardValue | None:
    """Value of a card's value field; text that is no FITS value is kept as text, None if empty.

    Numbers that do not fit a finite double are kept as text too: no infinity leaves a header.
    """
    quoted = _QUOTED.match(text)
    if quoted:
        return quoted.group(1).replace("''", "'").rstrip()
    bare = text.split("/", 1)[0].strip()
    if bare in {"T", "F"}:
        return bare == "T"
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if _FLOAT.fullmatch(bare):
        number = float(bare.upper().replace("D", "E"))
        return number if math.isfinite(number) else bare
    return bare or None


def first_values(cards: Sequence[Card]) -> dict[str, CardValue]:
    """Cards as a mapping: the first of repeated keywords counts, undefined values are absent."""
    values: dict[str, CardValue] = {}
    for keyword, value in cards:
        if value is not None:
            values.setdefault(keyword, value)
    return values


def _hierarch(card: bytes) -> Card | None:
    name, equals, field = _text(card[9:]).partition("=")
    keyword = " ".join(name.split()).upper()
    return (keyword, parse_value(field)) if equals and keyword else None


def _continue_string(cards: list[Card], card: bytes) -> None:
    quoted = _QUOTED.match(_text(card[8:]))
    if not cards or quoted is None:
        return
    keyword, value = cards[-1]
    if isinstance(value, str) and value.endswith("&"):
        cards[-1] = (keyword, value[:-1] + quoted.group(1).replace("''", "'").rstrip())


def _text(raw: bytes) -> str:
    # header text reaches pages, logs and spreadsheets: nothing but printable ASCII passes
    return "".join(chr(byte) if 32 <= byte < 127 else "?" if byte > 127 else " " for byte in raw)
