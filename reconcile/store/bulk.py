"""Many rows at once: PostgreSQL's COPY on the session's own connection."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Copy, sql
from sqlalchemy.orm import Session


@contextmanager
def copying(session: Session, table: str, columns: Sequence[str]) -> Iterator[Copy]:
    """Open a COPY into the table; rows are written with `write_row`."""
    connection: Any = session.connection().connection.driver_connection
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


def copy_rows(
    session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Copy the rows into the table, in the order of the columns."""
    with copying(session, table, columns) as copy:
        for row in rows:
            copy.write_row(row)
