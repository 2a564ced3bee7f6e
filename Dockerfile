# The image of every LearnLoop process in a cluster: docker build --tag registry.example.org/learnloop:0.1.0 .
# It needs a container engine. A repository with pipelines of its own starts from it:
#     FROM registry.example.org/learnloop:0.1.0
#     COPY pipelines pipelines
#     COPY dags dags
FROM python:3.11.13-slim-bookworm AS build
# pyfarmhash has no wheel.
RUN apt-get update && apt-get install -y -qq --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/learnloop
RUN python -m venv .venv && .venv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
# What changes seldom comes first: the locked packages, without those of development alone.
COPY setup.py pyproject.toml requirements.in requirements.lock README.md LICENSE ./
COPY learnloop/__init__.py learnloop/
RUN VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install -q --compile-bytecode -c requirements.lock -r setup.py --extra all setuptools
COPY learnloop learnloop
COPY messaging messaging
COPY feature_store feature_store
COPY serving serving
COPY components components
COPY privacy privacy
COPY simulator simulator
COPY pipelines pipelines
COPY dags dags
RUN VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install -q --no-deps --no-build-isolation -e . \
    && .venv/bin/python -m compileall -q learnloop messaging feature_store serving components privacy simulator pipelines

FROM python:3.11.13-slim-bookworm
LABEL org.opencontainers.image.title=LearnLoop org.opencontainers.image.licenses=Apache-2.0
RUN groupadd --gid 65532 learnloop \
    && useradd --uid 65532 --gid learnloop --no-create-home --home-dir /tmp --shell /usr/sbin/nologin learnloop
COPY --from=build /opt/learnloop /opt/learnloop
WORKDIR /opt/learnloop
# Nothing but /tmp and what is mounted may be written to.
ENV PATH=/opt/learnloop/.venv/bin:$PATH \
    PYTHONPATH=/opt/learnloop \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LEARNLOOP_PROJECT=/opt/learnloop \
    HOME=/tmp
USER 65532:65532
# No entry point: Airflow starts the pods of tasks with a command line of its own.
CMD ["learnloop", "--help"]
