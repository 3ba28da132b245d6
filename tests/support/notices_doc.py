"""`python -m tests.support.notices_doc`: write the table of docs/webhooks-out.md anew."""

from reconcile.policy.notices import NOTICES
from tests.support.source import ROOT

PAGE = ROOT / "docs" / "webhooks-out.md"
HEAD = "| type | who should hear | what it tells | fields of `data` |"


def notices_table() -> str:
    """The table of every notice, from the one list of them."""
    rows = [HEAD, "| --- | --- | --- | --- |"]
    for kind in NOTICES.values():
        fields = "; ".join(f"`{name}` {what}" for name, what in kind.data.items())
        rows.append(f"| `{kind.type}` | {kind.audience} | {kind.tells} | {fields} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Replace everything from the table's head on."""
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(HEAD)
    PAGE.write_text(head + notices_table(), encoding="utf-8")


if __name__ == "__main__":
    main()
