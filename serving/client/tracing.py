"""Trace context: a question appears in the caller's trace, and the server can go on with it.

Only OpenTelemetry's API is needed; without its SDK nothing is recorded, and a ``traceparent`` that
the caller is part of is passed on all the same. No rows and no subjects enter a span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def traced(operation: str, model: str) -> Iterator[None]:
    """Open a client span around a question with all its attempts.

    Args:
        operation: What is asked.
        model: The model asked.
    """
    from opentelemetry import trace

    attributes = {"learnloop.operation": operation, "learnloop.model": model}
    with trace.get_tracer("learnloop.serving.client").start_as_current_span(
        f"{operation} {model}", kind=trace.SpanKind.CLIENT, attributes=attributes
    ):
        yield


def note_attempts(attempts: int, label: str) -> None:
    """Write on the open span how the question was answered.

    Args:
        attempts: How often it was sent.
        label: The label that was asked.
    """
    from opentelemetry import trace

    span = trace.get_current_span()
    span.set_attribute("learnloop.attempts", attempts)
    span.set_attribute("learnloop.label", label)


def trace_headers() -> Mapping[str, str]:
    """Give the W3C headers of the open span: ``traceparent``, perhaps ``tracestate``."""
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
