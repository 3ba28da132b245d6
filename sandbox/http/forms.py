"""Form bodies and query strings with Stripe's nesting: `items[0][price]=x`, `expand[]=y`.

Pure: text in, nested dicts, lists and strings out; types are given by `params`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from sandbox.http.errors import bad_request

MAX_FIELDS = 5000
MAX_DEPTH = 10
_KEY = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")


def decode(encoded: str) -> dict[str, Any]:
    """The nested parameters of a form; raises ApiError on keys that contradict each other."""
    tree: dict[str, Any] = {}
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as problem:
        raise bad_request("Invalid request: too many parameters") from problem
    for key, value in pairs:
        _insert(tree, key, value)
    return {name: _lists(child) for name, child in tree.items()}


def _insert(tree: dict[str, Any], key: str, value: str) -> None:
    path = [part.strip("[]") for part in _KEY.findall(key)]
    if not path or not path[0] or len(path) > MAX_DEPTH:
        raise bad_request(f"Invalid parameter name: {key}", key)
    node = tree
    for part in path[:-1]:
        node = node.setdefault(part or str(len(node)), {})
        if not isinstance(node, dict):
            raise bad_request(f"Invalid hash: {key}", key)
    leaf = path[-1] or str(len(node))
    if isinstance(node.get(leaf), dict):
        raise bad_request(f"Invalid hash: {key}", key)
    node[leaf] = value


def _lists(node: Any) -> Any:
    """A hash whose keys are all numbers was a list on the client's side."""
    if not isinstance(node, dict):
        return node
    children = {name: _lists(child) for name, child in node.items()}
    if children and all(name.isdigit() for name in children):
        return [children[name] for name in sorted(children, key=int)]
    return children
