"""Rows that are written once: the database itself refuses to change or remove them.

The one way around is ``erasing``: deliberate, for one transaction, with a reason, on record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.migrations import RunPython

#: While it holds a row, the triggers let changes pass; only the transaction that wrote the row
#: sees it, and that transaction takes it away again.
PERMIT = "core_erasing"
_FUNCTION = "core_refuse_change"


class SchemaEditor(Protocol):
    """What a migration hands to its functions."""

    connection: Any

    def execute(self, sql: str, params: Any = ()) -> None: ...


@contextmanager
def permit() -> Iterator[None]:
    """Let append-only rows be changed and removed inside the block, in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {PERMIT} (reason) VALUES ('deliberate')")
        yield
        cursor.execute(f"DELETE FROM {PERMIT}")


@contextmanager
def erasing(actor: AbstractBaseUser | None, reason: str) -> Iterator[None]:
    """Let append-only rows be changed and removed, and put on record who did it and why."""
    from astrid_site.core.models import AuditEntry

    if not reason.strip():
        msg = "reason: say why records are erased"
        raise ValueError(msg)
    with permit():
        AuditEntry.objects.create(
            actor=actor,  # type: ignore[misc]
            action="records.erased",
            subject_type="core.auditentry",
            subject_id="",
            after={"reason": reason},
        )
        yield


def prepare() -> RunPython:
    """Migration step: the permit and, where triggers call one, the function that refuses."""
    return RunPython(_prepare, _undo_prepare, elidable=False)


def protect(
    table: str, *, columns: Sequence[str] = (), set_once: str = "", may_delete_if: str = ""
) -> RunPython:
    """Migration step: let the database refuse changes of a table's rows.

    Parameters
    ----------
    table : str
        Name of the table.
    columns : sequence of str
        The columns that never change; empty: all.
    set_once : str
        A column that may go from null to a value, once.
    may_delete_if : str
        SQL on ``OLD`` that says which rows may be removed; empty: none.
    """
    of = f" OF {', '.join(columns)}" if columns else ""
    triggers = {
        f"{table}_update": (f"UPDATE{of}", ""),
        f"{table}_delete": ("DELETE", f"NOT ({may_delete_if})" if may_delete_if else ""),
    }
    if set_once:
        triggers[f"{table}_once"] = (f"UPDATE OF {set_once}", f"OLD.{set_once} IS NOT NULL")

    def install(apps: Any, editor: SchemaEditor) -> None:
        for name, (change, condition) in triggers.items():
            editor.execute(_trigger(editor, table, name, change=change, when=condition), None)
        if _is_postgres(editor):
            editor.execute(_truncate_trigger(table), None)

    def remove(apps: Any, editor: SchemaEditor) -> None:
        on = f" ON {table}" if _is_postgres(editor) else ""
        names = [*triggers, *([f"{table}_truncate"] if on else [])]
        for name in names:
            editor.execute(f"DROP TRIGGER {name}{on}", None)

    return RunPython(install, remove, elidable=False)


def _is_postgres(editor: SchemaEditor) -> bool:
    return bool(editor.connection.vendor == "postgresql")


def _prepare(apps: Any, editor: SchemaEditor) -> None:
    editor.execute(f"CREATE TABLE {PERMIT} (reason varchar(200) NOT NULL)", None)
    if _is_postgres(editor):
        editor.execute(
            f"""CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NOT EXISTS (SELECT 1 FROM {PERMIT}) THEN
                    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
                        USING ERRCODE = 'integrity_constraint_violation';
                END IF;
                IF TG_OP = 'UPDATE' THEN RETURN NEW; END IF;
                RETURN OLD;
            END $$""",
            None,
        )


def _undo_prepare(apps: Any, editor: SchemaEditor) -> None:
    if _is_postgres(editor):
        editor.execute(f"DROP FUNCTION {_FUNCTION}()", None)
    editor.execute(f"DROP TABLE {PERMIT}", None)


def _trigger(editor: SchemaEditor, table: str, name: str, *, change: str, when: str) -> str:
    head = f"CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH ROW"
    if _is_postgres(editor):
        condition = f" WHEN ({when})" if when else ""
        return f"{head}{condition} EXECUTE FUNCTION {_FUNCTION}()"
    conditions = [f"NOT EXISTS (SELECT 1 FROM {PERMIT})", *([when] if when else [])]
    return (
        f"{head} WHEN {' AND '.join(conditions)}"
        f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _truncate_trigger(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()"
    )
