"""Holds answers against the installed SDK's annotated resource classes.

The official SDK is generated from Stripe's OpenAPI description; its classes say which fields an
object has, of which type, and which may be null. `problems` walks an answer along them: no unknown
field, no missing required one, right types, literal values that exist. Embedded lists, expanded
objects and the objects inside events are walked too. Nothing of the sandbox may enter here: the
judge must not know the defendant.
"""

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import import_module
from typing import Any, ForwardRef, Literal, TypeVar, Union, cast, get_args, get_origin

from stripe import ListObject, Plan
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES
from stripe._stripe_object import StripeObject, UntypedStripeObject
from stripe.events._event_classes import get_v2_event_class
from stripe.v2._deleted_object import DeletedObject

# Real answers carry these although the SDK has no annotation for them: `total_count` of embedded
# lists and `quantity` of subscriptions are in Stripe's recorded answers, `plan` is its companion.
UNANNOTATED: Mapping[str, Mapping[str, object]] = {
    "list": {"object": Literal["list"], "total_count": int},
    "subscription": {"quantity": int | None, "plan": Plan | None},
}

Problems = Iterator[str]


def problems(answer: object) -> list[str]:
    """Every way in which a parsed JSON answer differs from the SDK's classes, as `path: reason`.

    Error envelopes are checked for the fields that Stripe's errors always have.
    """
    if not isinstance(answer, Mapping):
        return [f"$: not an object but {type(answer).__name__}"]
    if "error" in answer:
        return list(_error(answer["error"]))
    if "object" not in answer and "data" in answer:
        return list(_v2_list(answer))
    if answer.keys() == {"id", "object"} and answer["object"] in V2_OBJECT_CLASSES:
        return list(_fields(answer, DeletedObject, "$"))
    return list(_resource(answer, "$"))


def assert_conforms(answer: object) -> None:
    """Raises AssertionError naming every problem, one a line."""
    found = problems(answer)
    assert not found, "the answer differs from the SDK's classes:\n" + "\n".join(found)


def _error(error: object) -> Problems:
    if not isinstance(error, Mapping):
        yield "$.error: not an object"
        return
    for field in ("type", "message"):
        if not isinstance(error.get(field), str):
            yield f"$.error.{field}: missing"
    known = {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
    if error.get("type") not in known:
        yield f"$.error.type: {error.get('type')!r} is none of Stripe's"


def _v2_list(answer: Mapping[str, Any]) -> Problems:
    for unknown in answer.keys() - {"data", "next_page_url", "previous_page_url"}:
        yield f"$.{unknown}: unknown field of a v2 list"
    for n, element in enumerate(answer["data"]):
        yield from _resource(element, f"$.data[{n}]")


def _resource(value: Mapping[str, Any], path: str) -> Problems:
    """Checks an object by what its own `object` field says it is."""
    name = value.get("object")
    if name == "list":
        yield from _list(value, Any, path)
    elif value.get("deleted") is True:
        yield from _fields(value, _class_named(name), path, required=frozenset({"id", "object"}))
    elif name == "v2.core.event":
        yield from _fields(value, get_v2_event_class(value.get("type", "")) or StripeObject, path)
    elif (cls := _class_named(name)) is None:
        yield f"{path}.object: {name!r} is no object of the API"
    else:
        yield from _fields(value, cls, path)
        if name == "event":
            yield from _resource(value["data"]["object"], f"{path}.data.object")


@cache
def _class_named(name: object) -> type[StripeObject] | None:
    found = OBJECT_CLASSES.get(str(name)) or V2_OBJECT_CLASSES.get(str(name))
    return getattr(import_module(found[0]), found[1]) if found else None


def _list(value: Mapping[str, Any], element: object, path: str) -> Problems:
    annotated = {**_annotations(ListObject), **UNANNOTATED["list"], "data": list[Any]}
    for unknown in value.keys() - annotated.keys():
        yield f"{path}.{unknown}: unknown field of a list"
    for field in ("data", "has_more", "url", "object"):
        if field not in value:
            yield f"{path}.{field}: missing"
        else:
            yield from _value(value[field], annotated[field], ListObject, f"{path}.{field}")
    for n, item in enumerate(value.get("data", [])):
        if element is Any:
            yield from _resource(item, f"{path}.data[{n}]")
        else:
            yield from _value(item, element, ListObject, f"{path}.data[{n}]")


def _fields(
    value: Mapping[str, Any],
    cls: type[StripeObject] | None,
    path: str,
    required: frozenset[str] | None = None,
) -> Problems:
    if cls is None:
        yield f"{path}.object: {value.get('object')!r} is no object of the API"
        return
    annotated = _annotations(cast("type", cls))
    if required is None:
        required = frozenset(name for name, hint in annotated.items() if not _optional(hint))
    for missing in sorted(required - value.keys()):
        yield f"{path}.{missing}: missing from {cls.__qualname__}"
    for name, item in value.items():
        if name not in annotated:
            yield f"{path}.{name}: unknown field of {cls.__qualname__}"
        else:
            yield from _value(item, annotated[name], cls, f"{path}.{name}")


@cache
def _annotations(cls: type) -> Mapping[str, Any]:
    """The fields of a class and its parents, without class variables."""
    found: dict[str, Any] = {}
    for parent in reversed(cls.__mro__):
        if issubclass(parent, StripeObject):
            found.update(inspect.get_annotations(parent))
    name = getattr(cls, "OBJECT_NAME", None)
    if name in UNANNOTATED and isinstance(name, str):
        found.update(UNANNOTATED[name])
    hidden = (typing.ClassVar, typing.Final)
    return {
        field: hint
        for field, hint in found.items()
        if get_origin(hint) not in hidden and not field.startswith("_")
    }


def _optional(hint: object) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _value(value: object, hint: Any, owner: type, path: str) -> Problems:
    """Checks one value against one annotation; `owner` is the class whose module names it."""
    check = _BY_ORIGIN.get(get_origin(hint) or hint)
    if isinstance(hint, str | ForwardRef):
        yield from _value(value, _resolve(hint, owner), owner, path)
    elif check is not None:
        yield from check(value, get_args(hint), owner, path)
    elif inspect.isclass(hint) and issubclass(hint, StripeObject):
        yield from _hash(value, hint, path)
    elif hint is not Any and not isinstance(hint, TypeVar):
        yield from _scalar(value, hint, path)


def _literal(value: object, args: tuple[Any, ...], owner: type, path: str) -> Problems:
    if value not in args or isinstance(value, bool) != isinstance(args[0], bool):
        yield f"{path}: {value!r} is none of {', '.join(map(repr, args))}"


def _array(value: object, args: tuple[Any, ...], owner: type, path: str) -> Problems:
    if not isinstance(value, list):
        yield f"{path}: not a list but {value!r}"
        return
    for n, element in enumerate(value):
        yield from _value(element, args[0], owner, f"{path}[{n}]")


def _list_object(value: object, args: tuple[Any, ...], owner: type, path: str) -> Problems:
    if not isinstance(value, Mapping):
        yield f"{path}: not a list object but {value!r}"
        return
    yield from _list(value, _bind(args[0], owner), path)


def _untyped(value: object, args: tuple[Any, ...], owner: type, path: str) -> Problems:
    if not isinstance(value, Mapping):
        yield f"{path}: not a hash but {value!r}"
        return
    for key, element in value.items():
        yield from _value(element, args[0] if args else Any, owner, f"{path}.{key}")


def _hash(value: object, cls: type[StripeObject], path: str) -> Problems:
    if not isinstance(value, Mapping):
        yield f"{path}: not a {cls.__qualname__} but {value!r}"
    elif "object" in value and hasattr(cls, "OBJECT_NAME"):
        yield from _resource_of(value, cls, path)
    else:
        yield from _fields(value, cls, path)


def _resource_of(value: Mapping[str, Any], cls: Any, path: str) -> Problems:
    if value["object"] != cls.OBJECT_NAME:
        yield f"{path}.object: {value['object']!r} where {cls.OBJECT_NAME!r} belongs"
    else:
        yield from _resource(value, path)


def _union(value: object, args: tuple[Any, ...], owner: type, path: str) -> Problems:
    """The complaints of the branch that fits best.

    That is one of the right kind if there is any: a wrong object is told by its wrong fields,
    not by its not being an id.
    """
    if value is None and type(None) in args:
        return
    branches = [list(_value(value, hint, owner, path)) for hint in args if hint is not type(None)]
    of_kind = [found for found in branches if not any(p.startswith(f"{path}:") for p in found)]
    yield from min(of_kind or branches, key=len)


def _scalar(value: object, hint: Any, path: str) -> Problems:
    if hint is Decimal:
        fits = isinstance(value, str) and _is_decimal(value)
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif hint is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, hint)
    if not fits:
        yield f"{path}: {value!r} is no {getattr(hint, '__name__', hint)}"


_BY_ORIGIN: Mapping[Any, Callable[[object, tuple[Any, ...], type, str], Problems]] = {
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
    list: _array,
    ListObject: _list_object,
    UntypedStripeObject: _untyped,
}


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _bind(hint: Any, owner: type) -> Any:
    """Resolves a quoted element type while the class that names it is still known."""
    if isinstance(hint, str | ForwardRef):
        return _resolve(hint, owner)
    if get_origin(hint) is Union:
        return Union[tuple(_bind(arg, owner) for arg in get_args(hint))]  # noqa: UP007 - built at run time
    return hint


def _resolve(hint: str | ForwardRef, owner: type) -> Any:
    name = hint if isinstance(hint, str) else hint.__forward_arg__
    return _names(_module_of(owner, name))[name]


def _module_of(owner: type, name: str) -> str:
    """The module of the class, or of the parent, whose annotations use the name."""
    for cls in owner.__mro__:
        if name in _names(cls.__module__):
            return cls.__module__
    raise LookupError(f"{name} is not imported where {owner.__qualname__} is defined")


@cache
def _names(module: str) -> Mapping[str, Any]:
    """What a module imports for its annotations only: names under `if TYPE_CHECKING`.

    Those imports are not executed, so they are read from the source.
    """
    found: dict[str, Any] = dict(vars(sys.modules[module]))
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module and "params" not in line.module:
                    source = import_module(line.module)
                    for alias in line.names:
                        found[alias.asname or alias.name] = getattr(source, alias.name, Any)
    return found
