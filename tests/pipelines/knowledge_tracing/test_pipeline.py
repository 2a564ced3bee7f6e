from __future__ import annotations

from pipelines.knowledge_tracing.pipeline import knowledge_tracing


def test_the_graph_runs_from_ingest_to_push() -> None:
    graph = knowledge_tracing.graph(source="kt", units=64)
    assert {name: set(node.upstream) for name, node in graph.nodes.items()} == {
        "ingest": set(),
        "load_champion": set(),
        "windows": {"ingest"},
        "join_features": {"windows"},
        "statistics": {"join_features"},
        "load_reference": {"statistics"},
        "validate": {"statistics", "join_features", "load_reference"},
        "transform": {"join_features", "validate"},
        "train": {"transform", "validate"},
        "evaluate": {"train", "join_features", "load_champion"},
        "infra_validate": {"train", "evaluate", "join_features"},
        "register": {"train", "infra_validate", "evaluate", "join_features"},
        "push": {"train", "register", "join_features"},
    }
    assert graph.node("train").arguments["hyperparameters"] == {"units": 64, "dropout": 0.4}
    assert graph.node("train").arguments["patience"] == 10
    assert graph.node("evaluate").arguments["without"] == "repeated"
