"""Bursts: requests that one run answers.

Requests for the same pipeline with the same parameters ask for the same run. One of them, the
leader, gives the run its id; who leads depends on the requests alone, not on their order. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from messaging.messages import ERASURE, RetrainRequest


@dataclass(frozen=True)
class Burst:
    """Requests that one run answers.

    Args:
        leader: Gives the run its id.
        followers: The others.
    """

    leader: RetrainRequest
    followers: tuple[RetrainRequest, ...] = ()

    @property
    def requests(self) -> tuple[RetrainRequest, ...]:
        """All of them, the leader first."""
        return (self.leader, *self.followers)

    @property
    def overriding(self) -> RetrainRequest | None:
        """The request by which a person wants the run whatever the policy says, if there is one."""
        return next((one for one in self.requests if one.override), None)

    @property
    def is_erasure(self) -> bool:
        """Whether a run must come of it: a person was erased with whom models were trained."""
        return any(one.reason == ERASURE for one in self.requests)

    @property
    def evidence(self) -> Mapping[str, Any]:
        """What the requests rest on together; of two words on one thing, the newer."""
        evidence: dict[str, Any] = {}
        for request in sorted(self.requests, key=_age):
            evidence.update(request.evidence)
        return evidence


def key_of(request: RetrainRequest) -> tuple[str, str]:
    """Say what a request asks for: the pipeline, and what stands for the parameters."""
    return request.pipeline, request.parameters_digest


def deduplicate(requests: Iterable[RetrainRequest]) -> tuple[RetrainRequest, ...]:
    """Keep one request of each message id, the first.

    Args:
        requests: In the order in which they came.
    """
    first: dict[str, RetrainRequest] = {}
    for request in requests:
        first.setdefault(request.message_id, request)
    return tuple(first.values())


def coalesce(requests: Iterable[RetrainRequest]) -> tuple[Burst, ...]:
    """Put requests into bursts.

    Args:
        requests: Each message id once.

    Returns:
        Every request in one burst. The leader is the oldest, one with an override before all.
    """
    groups: dict[tuple[str, str], list[RetrainRequest]] = {}
    for request in requests:
        groups.setdefault(key_of(request), []).append(request)
    bursts = []
    for key in sorted(groups):
        leader, *followers = sorted(groups[key], key=_rank)
        bursts.append(Burst(leader, tuple(followers)))
    return tuple(bursts)


def _age(request: RetrainRequest) -> tuple[Any, ...]:
    return request.requested_at, request.message_id


def _rank(request: RetrainRequest) -> tuple[Any, ...]:
    return not request.override, *_age(request)
