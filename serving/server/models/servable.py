"""A version that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from serving.server.contract import Done, ServingError, Signature, Tensors
from serving.server.models.batching import Batcher, Limits, SignatureRun


class LoadedVersion:
    """A version in memory; it is freed when nobody holds it any more.

    That is how requests finish on the version they began with: whoever found it keeps it.

    Args:
        model: The model's name.
        version: Its number.
        meta_graph: The ``SignatureDefMap``, serialised.
        runs: Its signatures.
        limits: What it takes before it refuses.
        loop: The event loop it is asked on.

    Attributes:
        executions: By what each signature runs.
    """

    def __init__(
        self,
        model: str,
        version: int,
        meta_graph: bytes,
        runs: Mapping[str, SignatureRun],
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.model = model
        self.version = version
        self.meta_graph = meta_graph
        self.signatures: Mapping[str, Signature] = {
            name: run.plan.signature for name, run in runs.items()
        }
        self.executions = _executions(runs)
        self._loop = loop
        self._batcher = Batcher(runs, limits, loop)

    def replace(self, runs: Mapping[str, SignatureRun]) -> None:
        """Answer by other means from the next batch on."""
        self.executions = _executions(runs)
        self._batcher.replace(runs)

    async def drain(self) -> None:
        """Wait until every request is answered."""
        await self._batcher.drain()

    async def close(self) -> None:
        """Answer every request, and refuse what comes after."""
        await self._batcher.close()

    def answer_now(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        seconds: float,
    ) -> Tensors | ServingError | None:
        """See :meth:`serving.server.contract.Servable.answer_now`."""
        return self._batcher.answer_now(signature, inputs, outputs, deadline, seconds)

    def submit(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        done: Done,
    ) -> None:
        """See :meth:`serving.server.contract.Servable.submit`."""
        self._batcher.submit(signature, inputs, outputs, deadline, done)

    async def run(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str] = (),
        *,
        deadline: float | None = None,
    ) -> Tensors:
        """See :meth:`serving.server.contract.Servable.run`."""
        future = self._loop.create_future()

        def done(answer: Tensors | ServingError) -> None:
            if future.done():  # its asker has gone
                return
            if isinstance(answer, ServingError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self._batcher.submit(signature, inputs, outputs, deadline, done)
        answer: Tensors = await future
        return answer


def _executions(runs: Mapping[str, SignatureRun]) -> dict[str, str]:
    return {name: run.execution for name, run in sorted(runs.items())}
