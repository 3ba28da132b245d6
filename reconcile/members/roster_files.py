"""Reads roster files: CSV with a header, or JSON Lines, into rows with their line numbers.

Pure parsing, one row at a time; a line that cannot be read becomes a `LineError` and reading goes
on. What a row means, and whether it fits the catalog, is `roster_import`'s.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

LONGEST_LINE = 1_048_576
LONGEST_TEXT = 1_000
LONGEST_ID = 200
LARGEST_INTEGER = 2**53
LARGEST_QUANTITY = 2**31 - 1

Value = str | int | bool | None


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with one line (0: with the file as a whole)."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file may hold: its columns, and how each is read. Optional ones may be left out."""

    name: str
    columns: Mapping[str, Callable[[str], Value]]
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> frozenset[str]:
        """The columns that must be there, if only to be empty."""
        return frozenset(self.columns) - self.optional


@dataclass(frozen=True, slots=True)
class Row:
    """One organization, member or auto-add setting of a file: the values that it gives."""

    path: Path
    line: int
    kind: Kind
    values: Mapping[str, Value]

    @property
    def lacking(self) -> list[str]:
        """The columns that it says nothing about, sorted; an empty one says that there is none."""
        return sorted(self.kind.optional - self.values.keys())


def _id(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    if len(text) > LONGEST_ID:
        raise ValueError(f"is longer than {LONGEST_ID} characters")
    return text


def _text(text: str) -> str | None:
    return text or None


def _boolean(text: str) -> bool:
    match text.lower():
        case "true" | "yes" | "1":
            return True
        case "false" | "no" | "0" | "":
            return False
        case _:
            raise ValueError("is neither true nor false")


def _integer(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > LARGEST_INTEGER:
        raise ValueError("is not a whole number")
    return int(text)


def _quantity(text: str) -> int | None:
    quantity = _integer(text)
    if quantity is not None and quantity > LARGEST_QUANTITY:
        raise ValueError(f"is larger than {LARGEST_QUANTITY}")
    return quantity


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "organizations",
            {
                "id": _id,
                "name": _id,
                "plan": _id,
                "stripe_customer_id": _text,
                "trial": _boolean,
            },
            optional=frozenset({"trial"}),
        ),
        Kind(
            "members",
            {
                "organization_id": _id,
                "id": _id,
                "role": _id,
                "seat_type": _text,
                "status": _id,
                "email": _text,
            },
            optional=frozenset({"email"}),
        ),
        Kind(
            "auto_add",
            {
                "organization_id": _id,
                "seat_type": _id,
                "enabled": _boolean,
                "ceiling_quantity": _quantity,
                "ceiling_minor": _integer,
            },
            optional=frozenset({"ceiling_quantity", "ceiling_minor"}),
        ),
    )
}


def read_file(path: Path, kind: Kind | None = None) -> Iterator[Row | LineError]:
    """Yield every row of the file, and a LineError for every line that is none."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
                yield LineError(path, 0, "is UTF-16: save it as UTF-8")
                return
            file.seek(3 if start[:3] == b"\xef\xbb\xbf" else 0)
            body_at = file.tell()
            first = file.read(LONGEST_TEXT).lstrip()[:1]
            file.seek(body_at)
            if not first:
                yield LineError(path, 0, "is empty")
            elif first == b"[":
                yield LineError(path, 0, "is a JSON array: expected one object a line")
            elif first == b"{":
                yield from _read_json_lines(path, file, kind)
            else:
                yield from _read_csv(path, file, kind)
    except OSError as error:
        yield LineError(path, 0, error.strerror or "cannot be read")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # A longer line comes in pieces, the first of which is too long for whoever reads it.
    return iter(lambda: file.readline(LONGEST_LINE + 1), b"")


def _read_json_lines(path: Path, file: BinaryIO, only: Kind | None) -> Iterator[Row | LineError]:
    for line, raw in enumerate(_lines(file), start=1):
        if len(raw) > LONGEST_LINE:
            yield LineError(path, line, f"is longer than {LONGEST_LINE} bytes")
            return
        if not raw.strip():
            continue
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            yield LineError(path, line, f"is not JSON: {error.msg}")
            continue
        if not isinstance(fields, dict):
            yield LineError(path, line, "is not a JSON object")
            continue
        try:
            found = only or _kind_of(list(fields))
            yield _row(path, line, found, {key: _as_text(fields[key], key) for key in fields})
        except ValueError as error:
            yield LineError(path, line, str(error))


def _as_text(value: object, name: str) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | str():
            return str(value)
        case _:
            raise ValueError(f"{name} must be a text, a whole number, true, false or null")


def _read_csv(path: Path, file: BinaryIO, only: Kind | None) -> Iterator[Row | LineError]:
    # Bytes that are no UTF-8 become lone surrogates, and are told with their line further down.
    lines = (raw.decode("utf-8", "surrogateescape") for raw in _lines(file))
    first = next(lines)
    delimiter = ";" if first.count(";") > first.count(",") else ","
    try:
        header = next(csv.reader([first], delimiter=delimiter, strict=True))
        header = [name.strip().lower() for name in header]
        kind = only or _kind_of(header)
        _check_columns(kind, header)
    except (ValueError, csv.Error) as error:
        yield LineError(path, 1, f"the header {error}")
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 2  # where this row starts: after the header, counted from 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield LineError(path, line, f"is not CSV: {error}")
            return
        if fields is None:
            return
        if not fields:
            continue
        if len(fields) != len(header):
            yield LineError(path, line, f"has {len(fields)} fields, the header has {len(header)}")
            continue
        try:
            yield _row(path, line, kind, dict(zip(header, fields, strict=True)))
        except ValueError as error:
            yield LineError(path, line, str(error))


def _kind_of(names: list[str]) -> Kind:
    for kind in KINDS.values():
        if kind.required <= set(names):
            return kind
    nearest = max(KINDS.values(), key=lambda kind: len(kind.required & set(names)))
    missing = ", ".join(sorted(nearest.required - set(names)))
    raise ValueError(f"is none of {', '.join(KINDS)}: {nearest.name} would need {missing}")


def _check_columns(kind: Kind, names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} twice")
    if missing := sorted(kind.required - set(names)):
        raise ValueError(f"lacks {', '.join(missing)}, which {kind.name} need")
    if unknown := sorted(set(names) - set(kind.columns)):
        raise ValueError(f"has {', '.join(map(repr, unknown))}, which {kind.name} have not")


def _row(path: Path, line: int, kind: Kind, fields: Mapping[str, str]) -> Row:
    _check_columns(kind, list(fields))
    values: dict[str, Value] = {}
    for name, field in fields.items():
        text = field.strip()
        if problem := _unfit(text):
            raise ValueError(f"{name} {problem}")
        try:
            values[name] = kind.columns[name](text)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return Row(path, line, kind, values)


def _unfit(text: str) -> str | None:
    if len(text) > LONGEST_TEXT:
        return f"is longer than {LONGEST_TEXT} characters"
    if text.isascii() and text.isprintable():
        return None
    if any(ch < " " or "\x7f" <= ch <= "\x9f" or ch in "\u2028\u2029" for ch in text):
        return "has a control character or a line break"
    if any("\ud800" <= ch <= "\udfff" for ch in text):
        return "is not UTF-8"
    return None
