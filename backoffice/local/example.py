"""Where the example catalog is: at the top of a checkout, inside the package once installed."""

from pathlib import Path

_NAME = "catalog.example.toml"


def example_catalog() -> Path:
    """The path of `catalog.example.toml`; a checkout's own comes first, being the one edited."""
    package = Path(__file__).parents[1]
    places = (package.parent / _NAME, package / _NAME)
    return next((place for place in places if place.is_file()), places[0])
