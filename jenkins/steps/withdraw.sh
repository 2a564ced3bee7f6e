#!/bin/sh
# Takes the candidate out of service if callers still get it, on trial or for good.
set -eu
if [ -z "${CANDIDATE:-}" ]; then
    echo "No version was moved."
    exit 0
fi
learnloop serving rollback "$MODEL" --version "$CANDIDATE" --reason "$WHY, which failed"
exec jenkins/steps/route.sh
