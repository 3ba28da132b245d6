"""`python -m tests.support.settings_doc`: write the table of docs/settings.md anew."""

from tests.support.source import ROOT, settings_table


def main() -> None:
    """Replace everything from the table's head on."""
    path = ROOT / "docs" / "settings.md"
    head, _, _ = path.read_text(encoding="utf-8").partition("| variable |")
    path.write_text(head + settings_table(), encoding="utf-8")


if __name__ == "__main__":
    main()
