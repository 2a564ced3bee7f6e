#!/bin/sh
# Weighs the model's versions at the gateway that GATEWAY names as the rollout has them now; without
# GATEWAY there is none, and servers deal out the shares themselves.
set -eu
if [ -n "${GATEWAY:-}" ]; then
    route=$(learnloop serving route "$MODEL" --gateway "$GATEWAY")
    echo "$route" | kubectl apply --filename -
fi
