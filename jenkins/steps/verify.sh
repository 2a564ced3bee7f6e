#!/bin/sh
# Asks the server at SERVING_GRPC about the model's rows until the candidate answers under the label
# stable: servers follow a promotion within their polling time. The argument is how often, at most.
set -eu
attempts=${1:-60}
while [ "$attempts" -gt 0 ]; do
    if answer=$(learnloop predict "$MODEL" --file "jenkins/rows/$MODEL.json" --label stable \
        --url "$SERVING_GRPC" --json); then
        case $answer in *"\"version\": $CANDIDATE,"*) echo "$answer" && exit 0 ;; esac
    fi
    attempts=$((attempts - 1))
    [ "$attempts" = 0 ] || sleep 1
done
echo "Version $CANDIDATE of '$MODEL' does not answer under the label stable." >&2
echo "  where:    $SERVING_GRPC" >&2
echo "  received: ${answer:-no answer}" >&2
echo "  next:     learnloop serving status $MODEL" >&2
exit 1
