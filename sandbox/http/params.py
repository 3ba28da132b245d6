"""Validation of request parameters against the SDK's own parameter types.

The official SDK ships one TypedDict for every call; reading them here means that a parameter
Stripe knows is known, and any other gets Stripe's error. What a handler does not implement is
named in its route (`only`) and refused, never ignored.
"""

from __future__ import annotations

import importlib
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from stripe._request_options import RequestOptions

from sandbox.http.errors import bad_request, missing_param, unknown_param

Check = Callable[[Any, str], Any]

# Stripe lists values in its own order; these two orders are recorded.
_RECORDED_ORDER = (
    ("allow_incomplete", "error_if_incomplete", "pending_if_incomplete", "default_incomplete"),
    (
        "active",
        "past_due",
        "unpaid",
        "canceled",
        "incomplete",
        "incomplete_expired",
        "trialing",
        "paused",
        "all",
        "ended",
    ),
)
# Plain strings that earlier API versions took where the SDK's version has a hash; recorded.
_EARLIER = {("SubscriptionUpdateParams", "billing_cycle_anchor"): ("now", "unchanged")}
# Parameters that earlier versions knew; the official CLI's triggers still send them.
_EARLIER_NAMES: dict[str, dict[str, Any]] = {
    "SubscriptionScheduleCreateParamsPhase": {"iterations": int},
    "SubscriptionScheduleUpdateParamsPhase": {"iterations": int},
}


@dataclass(frozen=True)
class Schema:
    """The parameters of one call: a check for each name, and the names that must be there."""

    checks: dict[str, Check]
    required: tuple[str, ...]

    def validate(self, values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        """Typed values; raises ApiError with Stripe's wording for the first that is wrong."""
        typed: dict[str, Any] = {}
        for name, value in values.items():
            path = f"{prefix}[{name}]" if prefix else name
            check = self.checks.get(name)
            if check is None:
                raise unknown_param(path)
            typed[name] = check(value, path)
        for name in self.required:
            if name not in typed:
                raise missing_param(f"{prefix}[{name}]" if prefix else name)
        return typed


@cache
def schema(name: str) -> Schema:
    """The schema of an SDK parameter class, such as `CustomerCreateParams`.

    Nested packages are written with a dot: `checkout.SessionCreateParams`.
    """
    package, _, plain = name.rpartition(".")
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", plain).lower()
    path = ".".join(part for part in ("stripe.params", package, f"_{words}") if part)
    return _of_class(getattr(importlib.import_module(path), plain))


def strings(*names: str) -> Schema:
    """The schema of a call that no SDK class describes: optional strings."""
    return Schema(dict.fromkeys(("expand", *names), _string), ())


@cache
def _of_class(cls: Any) -> Schema:
    checks: dict[str, Check] = {}
    required: list[str] = []
    for name, hint in _hints(cls).items():
        if get_origin(hint) is NotRequired:
            hint = get_args(hint)[0]  # noqa: PLW2901 - the wrapper has done its work
        else:
            required.append(name)
        earlier = _EARLIER.get((cls.__name__, name))
        checks[name] = _one_of(earlier, _check_of(hint)) if earlier else _check_of(hint)
    for name, hint in _EARLIER_NAMES.get(cls.__name__, {}).items():
        checks.setdefault(name, _check_of(hint))
    checks.setdefault("expand", _check_of(list[str]))
    return Schema(checks, tuple(required))


def _hints(cls: Any) -> dict[str, Any]:
    """Resolved annotations, without those of the SDK's transport options where they are mixed in.

    The class is copied because some transport annotations cannot be resolved at run time.
    """
    names = set(RequestOptions.__annotations__)
    annotations = cls.__annotations__
    transport = names if names <= set(annotations) else set()
    wanted = {name: hint for name, hint in annotations.items() if name not in transport}
    plain = type(cls.__name__, (), {"__annotations__": wanted, "__module__": cls.__module__})
    return typing.get_type_hints(plain, include_extras=True)


def _check_of(hint: Any) -> Check:  # noqa: PLR0911 - one line for each kind of type
    """The check for one type; types the API does not use in parameters do not occur."""
    origin = get_origin(hint)
    if origin in (Required, NotRequired):
        return _check_of(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return _check_union(get_args(hint))
    if origin is Literal:
        return _literal(get_args(hint))
    if origin is list:
        return _list(_check_of(get_args(hint)[0]))
    if origin is dict:
        return _mapping
    if _is_hash(hint):
        return lambda value, path: _hash(hint, value, path)
    return _SCALARS.get(hint, _string)


def _is_hash(hint: Any) -> bool:
    """A TypedDict of typing or of typing_extensions: each knows its own only."""
    return isinstance(hint, type) and hasattr(hint, "__required_keys__")


def _check_union(members: tuple[Any, ...]) -> Check:
    """`Literal['']` allows unsetting, `Literal[...] | str` is an enumeration."""
    values = tuple(v for m in members if get_origin(m) is Literal for v in get_args(m))
    named = tuple(v for v in values if v != "")
    others = [m for m in members if get_origin(m) is not Literal]
    hashes = [m for m in others if _is_hash(m) or get_origin(m) is dict]
    lists = [m for m in others if get_origin(m) is list]
    plain = [m for m in others if m in _SCALARS and not (named and m is str)]
    if plain:
        scalar = _check_of(plain[0])
    elif named:
        scalar = _literal(named)
    else:
        scalar = _check_of((hashes + lists + [str])[0])

    def check(value: Any, path: str) -> Any:
        if value == "" and "" in values:
            return ""
        if isinstance(value, dict) and hashes:
            return _check_of(hashes[0])(value, path)
        if isinstance(value, list) and lists:
            return _check_of(lists[0])(value, path)
        return value if value in named else scalar(value, path)

    return check


def _one_of(named: tuple[str, ...], other: Check) -> Check:
    return lambda value, path: value if value in named else other(value, path)


def _literal(values: tuple[Any, ...]) -> Check:
    for order in _RECORDED_ORDER:
        if set(order) == set(values):
            values = order

    def check(value: Any, path: str) -> Any:
        if isinstance(value, str) and value in values:
            return value
        if values == (True,):
            return _boolean(value, path)
        if len(values) == 1:
            listed = str(values[0])
            raise bad_request(f"Invalid {path}: must be {listed}", path)
        joiner = ", or " if len(values) > 2 else " or "
        listed = ", ".join(map(str, values[:-1])) + joiner + str(values[-1])
        raise bad_request(f"Invalid {path}: must be one of {listed}", path)

    return check


def _list(check: Check) -> Check:
    def each(value: Any, path: str) -> list[Any]:
        if value == "":
            return []
        if not isinstance(value, list):
            raise bad_request("Invalid array", path)
        return [check(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return each


def _hash(cls: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_request("Invalid object", path)
    return _of_class(cls).validate(value, path)


def _mapping(value: Any, path: str) -> dict[str, str]:
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        raise bad_request("Invalid hash", path)
    for key, item in value.items():
        if not isinstance(item, str):
            raise bad_request("Invalid string: " + str(item), f"{path}[{key}]")
    return value


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise bad_request(f"Invalid string: {value}", path)
    return value


def _integer(value: Any, path: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    raise bad_request(f"Invalid integer: {value}", path, "parameter_invalid_integer")


def _number(value: Any, path: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise bad_request(f"Invalid decimal: {value}", path) from None


def _boolean(value: Any, path: str) -> bool:
    if value in ("true", "True", "1"):
        return True
    if value in ("false", "False", "0"):
        return False
    raise bad_request(f"Invalid boolean: {value}", path)


def _decimal(value: Any, path: str) -> str:
    """A decimal string stays one: no float comes near an amount."""
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,24}(\.\d{1,12})?", value):
        return value
    raise bad_request(f"Invalid decimal: {value}", path, "parameter_invalid_decimal")


_SCALARS: dict[Any, Check] = {
    int: _integer,
    float: _number,
    bool: _boolean,
    str: _string,
    Decimal: _decimal,
}
