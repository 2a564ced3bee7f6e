"""The benchmark of the framework alone: what it reports, on a few steps."""

from __future__ import annotations

from benchmarks.overhead import measure


def test_it_tells_the_framework_and_the_store_apart() -> None:
    measured = measure(nodes=3, repetitions=1)
    assert set(measured) == {
        f"{name}_{kind}"
        for name in (
            "cached",
            "cached_overhead",
            "executed",
            "executed_overhead",
            "publish",
            "verify",
        )
        for kind in ("wall", "cpu")
    }
    for name, alone in (("executed", "publish"), ("cached", "verify")):
        difference = measured[f"{name}_cpu"] - measured[f"{alone}_cpu"]
        assert abs(measured[f"{name}_overhead_cpu"] - difference) < 0.01
