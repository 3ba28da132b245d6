"""The readable page of the document, served wholly from here: nothing is fetched from elsewhere."""

from pathlib import Path

import flask_openapi_redoc  # type: ignore[import-untyped] # only its files are used
from flask import Response

SCRIPT = Path(flask_openapi_redoc.__file__).parent / "templates/redoc/js/redoc.standalone.js"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trueup API</title>
</head>
<body>
<div id="document"></div>
<script type="module" src="/docs/start.js"></script>
</body>
</html>
"""
# The bundle is a module: it exports `init` and sets nothing global. A browser that was given the
# token in the address refuses to fetch relative to that: an origin has no credentials.
_START = """import { init } from "/docs/redoc.js";
const place = document.getElementById("document");
init(location.origin + "/openapi.json", { hideDownloadButton: false }, place);
"""
# Redoc writes its styles into the page; scripts come from this address only, and none is inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def page() -> Response:
    """Return the page."""
    answer = Response(_PAGE, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


def start() -> Response:
    """Return the script that starts the page."""
    return Response(_START, content_type="text/javascript; charset=utf-8")


def redoc() -> Response:
    """Return the library that draws the page."""
    return Response(SCRIPT.read_bytes(), content_type="text/javascript; charset=utf-8")
