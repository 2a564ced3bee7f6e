"""Dead letters: looking at them, and sending them again once their cause is mended.

A dead letter stays what it was; what is sent again is a new message, whose id is made from the old
one. Sending again twice by mistake, or after a kill, therefore asks once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from messaging.broker import DEAD_QUEUE, EVENTS, REASON, ROUTING_KEY, opened_channel
from messaging.messages import PoisonMessage, RetrainRequest, parse_request, poison_id
from messaging.publisher import publish

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

_BROKERS_REASONS = {
    "delivery_limit": "It was delivered too often without being acknowledged.",
    "rejected": "A consumer rejected it.",
    "expired": "Its time was over.",
    "maxlen": "The queue was full.",
}


@dataclass(frozen=True)
class DeadLetter:
    """A message that nobody could act on.

    Args:
        id: Its message id, or one made from its content.
        reason: Why it is here.
        request: What it asks for; None for poison.
    """

    id: str
    reason: str
    request: RetrainRequest | None

    def to_json(self) -> dict[str, Any]:
        """The dead letter as scripts read it; the words of poison are not told."""
        request = self.request.to_json() if self.request else None
        return {"id": self.id, "reason": self.reason, "request": request}


def read_dead_letters(url: str, limit: int) -> list[DeadLetter]:
    """Look at dead letters; they stay where they are.

    Args:
        url: The broker's address.
        limit: The most.

    Returns:
        Each id once, oldest first.

    Raises:
        LearnLoopError: The broker does not do as asked.
    """
    found: dict[str, DeadLetter] = {}
    with opened_channel(url) as channel:
        for _, letter in _take(channel, limit):
            found.setdefault(letter.id, letter)
    return list(found.values())


def replay(url: str, chosen: Callable[[DeadLetter], bool]) -> list[tuple[DeadLetter, str]]:
    """Send dead letters again, as new messages, and remove them.

    Args:
        url: The broker's address.
        chosen: Tells which; poison stays whatever it says.

    Returns:
        The dead letters and the ids of what was sent.

    Raises:
        LearnLoopError: The broker does not do as asked; what was sent by then is sent.
    """
    sent = []
    with opened_channel(url) as channel:
        waiting = channel.queue_declare(DEAD_QUEUE, passive=True).method.message_count
        for tag, letter in _take(channel, waiting):
            if letter.request is None or not chosen(letter):
                continue
            again = _again(letter.request)
            publish(channel, EVENTS, ROUTING_KEY, again.to_bytes(), again.message_id)
            channel.basic_ack(tag)
            sent.append((letter, again.message_id))
    return sent


def _again(request: RetrainRequest) -> RetrainRequest:
    return replace(
        request,
        message_id=str(uuid.uuid5(uuid.UUID(request.message_id), "replay")),
        evidence={**request.evidence, "replay_of": request.message_id},
    )


def _take(channel: BlockingChannel, limit: int) -> Iterator[tuple[int, DeadLetter]]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(DEAD_QUEUE)
        if method is None or body is None:
            return
        headers = (properties.headers if properties is not None else None) or {}
        reason = headers.get(REASON) or _brokers_reason(headers)
        try:
            request = parse_request(body)
        except PoisonMessage:
            yield method.delivery_tag, DeadLetter(poison_id(body), reason, None)
        else:
            yield method.delivery_tag, DeadLetter(request.message_id, reason, request)


def _brokers_reason(headers: Mapping[str, Any]) -> str:
    reason = str(headers.get("x-first-death-reason", ""))
    return _BROKERS_REASONS.get(reason, "The broker does not say why.")
