"""The four dashboards. Every metric here is one that a process tells; a test holds them to it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.panels import Query, board, curve, figure


def dashboards() -> list[Dashboard]:
    """Make all dashboards."""
    return [serving(), loop(), models(), data()]


def serving() -> Dashboard:
    """The model servers: who asks, what fails, how long it takes, by which version."""
    requests = ":tensorflow:serving:request_count"
    latency = "sum by (model_name, le) (rate(:tensorflow:serving:request_latency_bucket[5m]))"
    versions = "learnloop_serving_version"
    return board(
        "learnloop-serving",
        "LearnLoop: serving",
        3,
        [
            figure("Servers", "short", "How many answer, and how many there should be.",
                   Query('sum(up{job="serving"})', "answer"),
                   Query('count(up{job="serving"})', "known")),
            figure("Budget left", "percentunit",
                   "What is left of 0.5 % failed requests, if the last three days were the month.",
                   Query("1 - (model:serving_error_ratio:rate3d / 0.005)", "{{model_name}}")),
            curve("Requests", "reqps", "By model and outcome.",
                  Query(f"sum by (model_name, status) (rate({requests}[5m]))",
                        "{{model_name}} {{status}}")),
            curve("Failed by the server", "percentunit",
                  "Of all requests; the objective is 0.5 % over thirty days.",
                  Query("model:serving_error_ratio:rate5m", "{{model_name}}, 5 min"),
                  Query("model:serving_error_ratio:rate6h", "{{model_name}}, 6 h")),
            curve("Time to answer", "µs", "Of a whole request; the objective is 100 ms for 99 %.",
                  Query(f"histogram_quantile(0.5, {latency})", "{{model_name}} p50"),
                  Query(f"histogram_quantile(0.99, {latency})", "{{model_name}} p99")),
            curve("Runs by version", "reqps", "The embedded server alone counts by version.",
                  Query(f"sum by (model_name, version, status) (rate({versions}_runs_total[5m]))",
                        "{{model_name}} {{version}} {{status}}")),
            curve("Time of a run by version", "µs", "A canary beside the stable version, p90.",
                  Query("histogram_quantile(0.9, sum by (model_name, version, le) "
                        f"(rate({versions}_latency_bucket[5m])))", "{{model_name}} {{version}}")),
            curve("Prediction log", "rowsps", "What is written down, and what is lost.",
                  Query("rate(learnloop_prediction_log_logged_total[5m])", "{{instance}} logged"),
                  Query("rate(learnloop_prediction_log_dropped_total[5m])", "{{instance}} dropped"),
                  Query("rate(learnloop_prediction_log_faults_total[5m])", "{{instance}} faults")),
            curve("Connections", "short", "REST connections that are open.",
                  Query("learnloop_serving_rest_connections", "{{instance}}")),
            curve("Share of the canary", "percentunit", "Of the callers, as it is rolled out.",
                  Query("learnloop_serving_canary_weight", "{{model}}")),
        ],
    )  # fmt: skip


def loop() -> Dashboard:
    """The retraining loop: requests, decisions, and what came of them."""
    queue = "rabbitmq_detailed_queue_messages"
    return board(
        "learnloop-loop",
        "LearnLoop: retraining loop",
        24,
        [
            figure("Listener reaches", "short", "1 for what answers.",
                   Query("learnloop_retrain_broker_up", "RabbitMQ"),
                   Query("learnloop_retrain_ledger_up", "ledger"),
                   Query("learnloop_retrain_target_up", "Airflow")),
            figure("Listeners", "short", "Consumers of the queue; one of them is active.",
                   Query('rabbitmq_detailed_queue_consumers{queue="retrain"}', "{{vhost}}")),
            curve("Messages in queues", "short", "Waiting, put off, dead.",
                  Query(f'{queue}{{queue=~"retrain.*"}}', "{{queue}}")),
            curve("What became of messages", "short", "In an hour.",
                  Query("sum by (outcome) (increase(learnloop_retrain_messages_total[1h]))",
                        "{{outcome}}"),
                  Query("sum(increase(learnloop_retrain_delayed_messages_total[1h]))", "put off")),
            curve("Decisions", "short", "In an hour, by the state in which they were found.",
                  Query("sum by (state) (increase(learnloop_retrain_decisions_total[1h]))",
                        "{{state}}")),
            curve("What the target answered", "short", "In an hour.",
                  Query("sum by (answer) (increase(learnloop_retrain_replies_total[1h]))",
                        "{{answer}}")),
            curve("Time of a batch", "s", "From its first message to its last word, p90.",
                  Query("histogram_quantile(0.9, sum by (le) "
                        "(rate(learnloop_retrain_batch_seconds_bucket[1h])))", "p90")),
            curve("Runs under way", "short", "By pipeline.",
                  Query('sum by (pipeline) (learnloop_runs{status="running"})', "{{pipeline}}")),
        ],
    )  # fmt: skip


def models() -> Dashboard:
    """Pipelines and models: how runs ended, what gates said, drift, live quality, age."""

    def since(moment: str) -> str:
        return f"time() - max by (model) ({moment})"

    ended = "learnloop_run_last_ended_timestamp_seconds"
    monitor = "learnloop_monitor"
    return board(
        "learnloop-models",
        "LearnLoop: pipelines and models",
        24 * 30,
        [
            figure("Last run", "short", "1 for how the run that ended last did.",
                   Query("max by (pipeline, model, status) (learnloop_run_last_status) == 1",
                         "{{pipeline}} {{model}} {{status}}"), span=8),
            figure("Since the last finished run", "s", "By pipeline.",
                   Query(f'time() - max by (pipeline, model) ({ended}{{status="done"}})',
                         "{{pipeline}} {{model}}"), span=8),
            figure("Age of the champion", "s", "Since the registry's alias points at it.",
                   Query(since("learnloop_champion_since_timestamp_seconds"), "{{model}}")),
            figure("Since the last push", "s", "Of a new version.",
                   Query(since('learnloop_serving_last_move_timestamp_seconds{move="push"}'),
                         "{{model}}")),
            curve("Runs on record", "short", "By how they ended; old ones are collected.",
                  Query("sum by (pipeline, status) (learnloop_runs)", "{{pipeline}} {{status}}")),
            curve("Gates that refused", "short", "Attempts at steps that were refused.",
                  Query('sum by (pipeline, step) (learnloop_steps{status="refused"})',
                        "{{pipeline}} {{step}}")),
            curve("Time of steps", "s", "When each was last executed.",
                  Query("max by (pipeline, step) (learnloop_step_last_duration_seconds)",
                        "{{pipeline}} {{step}}")),
            curve("Steps from the cache", "percentunit", "Of all that came to something.",
                  Query('sum by (pipeline) (learnloop_steps{status="cached"}) / sum by (pipeline) '
                        '(learnloop_steps{status=~"cached|done"})', "{{pipeline}}")),
            curve("Drift of features", "short", "Bits of Jensen-Shannon divergence from training.",
                  Query(f"{monitor}_features_distance_bits", "{{model}} {{column}}")),
            curve("Drift of scores", "short", "Bits from earlier windows.",
                  Query(f"{monitor}_scores_distance_bits", "{{model}} {{column}}")),
            curve("Evidence of a change", "short", "100 is an alarm.",
                  Query(f"{monitor}_features_evidence", "{{model}} features"),
                  Query(f"{monitor}_scores_evidence", "{{model}} scores")),
            curve("Live AUC", "percentunit", "Of predictions that have come to pass.",
                  Query(f"{monitor}_auc", "{{model}}")),
            curve("Live calibration error", "percentunit", "Expected calibration error.",
                  Query(f"{monitor}_calibration_error", "{{model}}")),
            curve("Predictions in a window", "short", "As the monitor counted them.",
                  Query(f"{monitor}_predictions", "{{model}}")),
            figure("Reasons to retrain", "short", "1 if the last look gave any.",
                   Query(f"{monitor}_needs_retraining", "{{model}}")),
            figure("Since the last look", "s", "Of the monitor.",
                   Query(since(f"{monitor}_made_timestamp_seconds"), "{{model}}")),
            figure("Versions", "none", "In service, on trial, and the registry's champion.",
                   Query("learnloop_serving_version", "{{model}} {{label}}"),
                   Query("learnloop_champion_version", "{{model}} champion"), span=8),
        ],
    )  # fmt: skip


def data() -> Dashboard:
    """Learner events, features, and the space that all of it takes."""
    asked = "learnloop_features_request_seconds"
    return board(
        "learnloop-data",
        "LearnLoop: events and features",
        6,
        [
            curve("Events collected", "cps", "By kind.",
                  Query("sum by (kind) (rate(learnloop_events_collected_total[5m]))", "{{kind}}")),
            curve("Events that wait", "short", "In Kafka, by partition.",
                  Query("learnloop_events_lag", "{{instance}} {{partition}}")),
            curve("Events left out", "short", "In an hour.",
                  Query("sum(increase(learnloop_events_repeated_total[1h]))", "told twice"),
                  Query("sum(increase(learnloop_events_quarantined_total[1h]))", "no events"),
                  Query("sum(increase(learnloop_events_erased_total[1h]))", "of the erased")),
            figure("Age of the newest event", "s", "When it happened, not when it was told.",
                   Query("time() - max(learnloop_events_newest_seconds)", "newest")),
            figure("Age of features", "s", "Up to when a store has all rows of a view.",
                   Query("time() - learnloop_features_watermark_timestamp_seconds",
                         "{{view}} {{store}}")),
            curve("Requests for features", "reqps", "By HTTP status.",
                  Query(f"sum by (status) (rate({asked}_count[5m]))", "{{status}}")),
            curve("Time to answer with features", "s", "Of a whole request.",
                  Query(f"histogram_quantile(0.5, sum by (le) (rate({asked}_bucket[5m])))", "p50"),
                  Query(f"histogram_quantile(0.99, sum by (le) (rate({asked}_bucket[5m])))",
                        "p99")),
            curve("Free space", "percentunit", "Of the disk under each folder.",
                  Query("learnloop_disk_free_bytes / learnloop_disk_size_bytes",
                        "{{instance}} {{place}}")),
            figure("What can be read", "short", "1 for each source of learnloop metrics.",
                   Query("learnloop_metrics_source_up", "{{source}}")),
        ],
    )  # fmt: skip
