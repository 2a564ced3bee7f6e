"""How to reach Kafka: an address, and what security needs from the environment alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from learnloop.errors import UsageError

PREFIX = "LEARNLOOP_KAFKA_"


def open_client(make: Callable[[dict[str, Any]], Any], settings: Mapping[str, Any]) -> Any:
    """Make a client of Kafka.

    Each ``LEARNLOOP_KAFKA_<NAME>`` of the environment is librdkafka's setting of that name, before
    the ones given: ``LEARNLOOP_KAFKA_SASL_PASSWORD`` is ``sasl.password``
    (https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).

    Args:
        make: ``confluent_kafka.Producer`` or ``Consumer``.
        settings: What LearnLoop itself needs.

    Returns:
        The client.

    Raises:
        UsageError: A setting is unknown or does not fit.
    """
    from confluent_kafka import KafkaException

    named = {
        name.removeprefix(PREFIX).lower().replace("_", "."): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
    }
    try:
        return make({**named, **settings})
    except KafkaException as fault:
        raise UsageError(
            "Kafka's client refuses a setting.",
            where=f"the environment's {PREFIX}…" if named else "the address",
            received=fault.args[0].str(),
        ) from None
