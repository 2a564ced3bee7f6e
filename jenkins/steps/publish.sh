#!/bin/sh
# Publishes what is in dist/ under the tag that is the first argument, and reads it back.
# TWINE_REPOSITORY_URL takes packages, PACKAGE_INDEX_URL is where the same packages are read, and
# TWINE_USERNAME and TWINE_PASSWORD log in to both.
set -eu
PATH=$PWD/.venv/bin:$PATH
: "${TWINE_REPOSITORY_URL:?is not set: where packages are uploaded}"
: "${PACKAGE_INDEX_URL:?is not set: where packages are read}"
: "${TWINE_USERNAME:?is not set: who publishes}"
: "${TWINE_PASSWORD:?is not set: who publishes}"
version=${1#v}
if ! [ -f "dist/learnloop-$version.tar.gz" ]; then
    echo "The tag $1 is not the version of the package." >&2
    echo "  expected: v$(basename dist/learnloop-*.tar.gz .tar.gz | cut -d- -f2)" >&2
    echo "  received: $1" >&2
    exit 2
fi
python jenkins/steps/unpublished.py "$version"
python -m twine upload --non-interactive --disable-progress-bar dist/learnloop-*

umask 077 # what follows holds the password
private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
trap 'exit 1' HUP INT TERM
python - >"$private/pip.conf" <<'END'
import os
from urllib.parse import quote, urlsplit

index = urlsplit(os.environ["PACKAGE_INDEX_URL"])
login = ":".join(quote(os.environ[f"TWINE_{part}"], safe="") for part in ("USERNAME", "PASSWORD"))
print(f"[global]\nindex-url = {index._replace(netloc=f'{login}@{index.netloc}').geturl()}")
END
env -u PIP_INDEX_URL PIP_CONFIG_FILE="$private/pip.conf" \
    python -m pip download -q --no-input --disable-pip-version-check --only-binary :all: \
    --no-deps --no-cache-dir --dest "$private" "learnloop==$version"
grep '\.whl$' dist/SHA256SUMS >"$private/SHA256SUMS"
cd "$private"
sha256sum --check SHA256SUMS
