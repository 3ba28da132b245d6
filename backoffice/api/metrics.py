"""What the API counts. Labels are bounded: a route is its template, a status its class."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "trueup_api_requests",
    "Requests of the API by route template, method and status class.",
    ["route", "method", "status"],
)
SECONDS = Histogram(
    "trueup_api_seconds",
    "Seconds from reading a request to its answer, by route template.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
