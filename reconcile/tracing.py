"""One trace from a receipt to its invoice: `trueup[otel]`, off unless `otel_traces_url` is set.

A span is opened with `span`; the inbox row carries the trace from process to process as the W3C
header it was received with. While it is off nothing of OpenTelemetry is imported, and a span costs
a look at one name. Spans carry ids and outcomes, never bodies. https://www.w3.org/TR/trace-context/
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from reconcile import scrub
from reconcile.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
T = TypeVar("T")

_MOST_LINKS = 32


class _Process:
    """What this process traces with: like logging, one of a kind, set at the entry point."""

    tracer: "Tracer | None" = None
    stop: "Callable[[], None] | None" = None


def configure(settings: Settings, process: str, exporter: "SpanExporter | None" = None) -> None:
    """Trace from now on if `otel_traces_url` is set; `process` names it, such as `worker`.

    `exporter` is where spans go instead. Raises ValueError without the extra.
    """
    if not settings.otel_traces_url and exporter is None:
        return
    try:
        sdk = import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        sampling = import_module("opentelemetry.sdk.trace.sampling")
        resources = import_module("opentelemetry.sdk.resources")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise ValueError("TRUEUP_OTEL_TRACES_URL is set: install trueup[otel]") from None
    named = {"service.name": "trueup", "service.namespace": process}
    provider = sdk.TracerProvider(
        resource=resources.Resource.create(named),
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(settings.otel_sample)),
        shutdown_on_exit=True,
    )
    if exporter is None:
        sent = otlp.OTLPSpanExporter(endpoint=settings.otel_traces_url, timeout=5)
        provider.add_span_processor(export.BatchSpanProcessor(sent))
    else:
        provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    # Of our own provider, not a global one: the host's own tracing may live in the same process.
    _Process.tracer = provider.get_tracer("trueup", version("trueup"))
    _Process.stop = provider.shutdown


def stop() -> None:
    """Send what waits and trace no more."""
    if _Process.stop is not None:
        _Process.stop()
    _Process.tracer = _Process.stop = None


@contextmanager
def span(
    name: str, *, parent: str | None = None, links: Sequence[str | None] = (), **told: object
) -> Iterator["Span | None"]:
    """Open a span; an error that leaves it is told on it, as one line.

    `parent` is the `traceparent` of an inbox row, without one it is the span around this one; what
    else is handled here is named by `links`.
    """
    tracer = _Process.tracer
    if tracer is None:
        yield None
        return
    api = import_module("opentelemetry.trace")
    linked = [
        api.Link(api.get_current_span(_context(each)).get_span_context())
        for each in [one for one in links if one and one != parent][:_MOST_LINKS]
    ]
    with tracer.start_as_current_span(
        name,
        context=_context(parent) if parent else None,
        links=linked,
        attributes={key: str(value) for key, value in told.items() if value is not None},
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except BaseException as error:
            line = scrub.words(f"{type(error).__name__}: {error}")[:500]
            opened.set_status(api.Status(api.StatusCode.ERROR, line))
            raise


def traced(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Run the function in a span of that name."""

    def around(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            if _Process.tracer is None:
                return function(*args, **kwargs)
            with span(name):
                return function(*args, **kwargs)

        return inside

    return around


def tell(**told: object) -> None:
    """Add to the span around this, if there is one."""
    if _Process.tracer is None:
        return
    opened = import_module("opentelemetry.trace").get_current_span()
    for key, value in told.items():
        if value is not None:
            opened.set_attribute(key, str(value))


def traceparent() -> str | None:
    """Return the W3C header of the span around this, to be kept with a row; None when off."""
    if _Process.tracer is None:
        return None
    found = import_module("opentelemetry.trace").get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def _context(parent: str | None) -> "Context":
    propagation = import_module("opentelemetry.trace.propagation.tracecontext")
    propagator = propagation.TraceContextTextMapPropagator()
    found: Context = propagator.extract({"traceparent": parent or ""})
    return found
