"""One trace from the receipt to the invoice, over processes; and nothing at all when it is off."""

import gzip
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import select

from reconcile import tracing
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.settling.work import work_off
from reconcile.store.inbox import add_request
from reconcile.tables import events
from tests.observability.conftest import Installation, deliver, listening, lowered_below_the_floor
from tests.support.shop import Shop
from tests.support.workshop import eventually
from worker.queues import Queue
from worker.relay import hint_due


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    yield InMemorySpanExporter()
    tracing.stop()


def named(spans: tuple[ReadableSpan, ...]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_relay_job_settling_calls_adjustment_and_invoice_are_one_trace(
    shop: Shop, settings: Settings, exporter: InMemorySpanExporter
) -> None:
    subscription, _ = lowered_below_the_floor(shop)
    asked = InMemorySpanExporter()
    tracing.configure(settings, "api", asked)
    with tracing.span("a person asks"), shop.services.sessions.begin() as session:
        now = shop.services.clock()
        key = f"sub:{subscription}"
        add_request(session, type="trueup.test", work_key=key, payload={}, due_at=now)
    # Another process: all it has is the row.
    tracing.stop()
    tracing.configure(settings, "worker", exporter)
    assert hint_due(shop.services.sessions, Queue(settings), settings) == 1
    assert work_off(shop.services, key).ended == "done"
    spans = exporter.get_finished_spans()
    found = named(spans)
    (person,) = asked.get_finished_spans()
    trace = person.context.trace_id
    for name in ("hint", "work off", "settle", "adjust", "check invoice"):
        assert found[name].context.trace_id == trace, name
    calls = [span for span in spans if span.name.startswith("stripe ")]
    assert {span.context.trace_id for span in calls} == {trace}
    assert all(attributes(span)["stripe_request_id"].startswith("req_") for span in calls)
    (adjustment,) = shop.adjustments(subscription)
    assert attributes(found["adjust"])["adjustment"] == adjustment.id
    assert attributes(found["check invoice"])["invoice"] == adjustment.invoice_id
    assert attributes(found["work off"])["ended"] == "done"
    adjusting = found["adjust"].context.span_id
    write = next(s for s in calls if s.parent and s.parent.span_id == adjusting)
    assert write.name == "stripe POST /v1/subscriptions"


def test_an_error_is_on_its_span_without_what_may_not_leave(
    settings: Settings, exporter: InMemorySpanExporter
) -> None:
    tracing.configure(settings, "worker", exporter)
    with pytest.raises(ValueError, match="ann"), tracing.span("fails"):
        raise ValueError("ann@example.com with sk_test_1234567")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert "ValueError" in str(span.status.description)
    assert "ann" not in str(span.to_json())
    assert "1234567" not in str(span.to_json())


@pytest.mark.parametrize("parent", ["garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", ""])
def test_a_parent_that_is_none_begins_a_trace(
    settings: Settings, exporter: InMemorySpanExporter, parent: str
) -> None:
    tracing.configure(settings, "worker", exporter)
    with tracing.span("work off", parent=parent, links=[parent, None]):
        assert tracing.traceparent()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_real_processes_send_one_trace(installation: Installation, shop: Shop) -> None:
    """Receiver, relay and worker as they are started in production, to a collector over OTLP."""
    subscription, event = lowered_below_the_floor(shop)
    with listening() as collector:
        for name in ("receiver", "relay", "worker"):
            installation.start(name, otel_traces_url=f"{collector.url}/v1/traces")
        deliver(installation, event)
        eventually(lambda: bool(shop.invoices(subscription, "subscription_update")))
        eventually(lambda: state(shop.services, event["id"]) == "done")
        installation.stop()
        spans = list(received(collector.bodies))
    (receipt,) = [span for _, span in spans if span.name == "receive"]
    of_it = {(process, span.name) for process, span in spans if span.trace_id == receipt.trace_id}
    assert of_it >= {
        ("webhooks", "receive"),
        ("relay", "hint"),
        ("worker", "work off"),
        ("worker", "settle"),
        ("worker", "adjust"),
        ("worker", "stripe POST /v1/subscriptions"),
        ("worker", "check invoice"),
    }


def received(bodies: list[bytes]) -> Iterator[tuple[str, Any]]:
    for body in bodies:
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                yield from ((told["service.namespace"], span) for span in scope.spans)


def state(services: Services, event_id: str) -> str:
    with services.sessions() as session:
        return str(session.scalars(select(events.c.state).where(events.c.id == event_id)).one())


def test_off_it_keeps_no_trace_imports_nothing_and_costs_nothing(shop: Shop) -> None:
    subscription, _ = lowered_below_the_floor(shop)
    with shop.services.sessions.begin() as session:
        now = shop.services.clock()
        key = f"sub:{subscription}"
        asked = add_request(session, type="trueup.test", work_key=key, payload={}, due_at=now)
    with shop.services.sessions() as session:
        kept = select(events.c.traceparent).where(events.c.id == asked)
        assert session.execute(kept).scalar_one() is None
    # The queue's client brings OpenTelemetry's metrics along where they are installed.
    unwanted = "opentelemetry.sdk.trace"
    look = f"import sys, worker.process, webhooks.app; print('{unwanted}' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
    began = time.perf_counter()
    for _ in range(10_000):
        with tracing.span("nothing", event_id="evt_1"):
            pass
    assert time.perf_counter() - began < 0.5, "50 microseconds for nothing"
