#!/bin/sh
# Watches the candidate's trial until it ends, or as the arguments say; harm stops it and fails here.
# SERVING_STABLE_METRICS and SERVING_CANARY_METRICS are the servers' metrics pages, separated by
# spaces; PREDICTION_LOG is the prediction log's folder, where there is one; WATCH_EVERY is the number
# of seconds between two looks.
set -eu
for page in $SERVING_STABLE_METRICS; do set -- "$@" --stable-metrics "$page"; done
for page in $SERVING_CANARY_METRICS; do set -- "$@" --canary-metrics "$page"; done
if [ -n "${PREDICTION_LOG:-}" ]; then set -- "$@" --log "$PREDICTION_LOG"; fi
exec learnloop serving watch "$MODEL" --version "$CANDIDATE" \
    --every "${WATCH_EVERY:-5}" "$@"
