"""What people say of an object: what holds now, and everything that was ever said."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.models import AstroObject, ObjectStatement

Kind = ObjectStatement.Kind


@dataclass(frozen=True)
class Statements:
    """What holds of one object; ``history`` has every word, newest first."""

    aliases: list[ObjectStatement]
    notes: list[ObjectStatement]
    host: ObjectStatement | None
    redshift: ObjectStatement | None
    classification: ObjectStatement | None
    history: list[ObjectStatement]


def statements_of(astro_object: AstroObject) -> Statements:
    """Aliases and notes all hold, of the rest the latest; what was withdrawn does not."""
    rows = list(
        ObjectStatement.objects.filter(astro_object=astro_object)
        .select_related("said_by", "withdraws", "withdrawn_by__said_by")
        .order_by("-created_at", "-id")
    )
    standing = [
        row for row in rows if row.withdraws_id is None and not hasattr(row, "withdrawn_by")
    ]

    def of(kind: ObjectStatement.Kind) -> list[ObjectStatement]:
        return [row for row in standing if row.kind == kind]

    return Statements(
        aliases=of(Kind.ALIAS)[::-1],
        notes=of(Kind.NOTE),
        host=next(iter(of(Kind.HOST)), None),
        redshift=next(iter(of(Kind.REDSHIFT)), None),
        classification=next(iter(of(Kind.CLASSIFICATION)), None),
        history=rows,
    )
