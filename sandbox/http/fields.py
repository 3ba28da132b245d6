"""Small rules that all resources share: unsetting by empty string, metadata, copying fields."""

from __future__ import annotations

from typing import Any

from sandbox.http.errors import bad_request
from sandbox.store import Obj

MAX_METADATA_KEYS = 50
MAX_METADATA_VALUE = 500


def set_fields(obj: Obj, params: dict[str, Any], names: str) -> None:
    """Copy the named parameters that were sent; an empty string unsets."""
    for name in names.split():
        if name in params:
            obj[name] = params[name] if params[name] != "" else None


def set_metadata(obj: Obj, params: dict[str, Any]) -> None:
    """Merge metadata: an empty value unsets a key, an empty string unsets all of them."""
    if "metadata" not in params:
        return
    obj["metadata"] = merged_metadata(obj.get("metadata") or {}, params["metadata"])


def merged_metadata(old: dict[str, str], sent: Any) -> dict[str, str]:
    """What metadata becomes; raises ApiError past Stripe's limits."""
    if sent == "":
        return {}
    merged = {**old, **sent}
    for key, value in merged.items():
        if len(key) > 40:
            raise bad_request(
                f"Metadata keys can have up to 40 characters; {key[:40]}... is longer.", "metadata"
            )
        if len(value) > MAX_METADATA_VALUE:
            raise bad_request(
                f"Metadata values can have up to 500 characters, but you passed in a value that "
                f"is {len(value)} characters. Invalid value: {value}",
                f"metadata[{key}]",
            )
    kept = {key: value for key, value in merged.items() if value != ""}
    if len(kept) > MAX_METADATA_KEYS:
        raise bad_request("You can only have up to 50 metadata keys.", "metadata")
    return kept


def changed(before: Obj, after: Obj) -> bool:
    """Whether an update changed anything: Stripe sends no event when it did not."""
    return before != after
