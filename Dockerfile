# The image of ldsync, also for the simulator and the event generator of docker-compose.yml.
#
# It needs only python3 (3.11 or newer, glibc), venv and pip of its base; slim and not Alpine, because
# aiokafka has no wheel for musl. Every stage has the same base, so that the environment made in one
# runs in the other.
ARG BASE=python:3.14-slim-trixie

# --- the package as a wheel ------------------------------------------------------------------------
FROM ${BASE} AS wheel
WORKDIR /src
RUN python3 -m venv /build
COPY requirements/build.txt requirements/
RUN /build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY ldsync ldsync
RUN /build/bin/python -m build --wheel --no-isolation --outdir /wheels

# --- the environment: the layer with the dependencies changes only with requirements/run.txt -------
FROM ${BASE} AS environment
RUN python3 -m venv /opt/ldsync
COPY requirements/run.txt /tmp/
RUN /opt/ldsync/bin/python -m pip install --no-cache-dir --no-compile --only-binary=:all: \
        --require-hashes -r /tmp/run.txt
COPY --from=wheel /wheels /tmp/wheels
RUN /opt/ldsync/bin/python -m pip install --no-cache-dir --no-compile --no-deps /tmp/wheels/*.whl \
    && /opt/ldsync/bin/python -m pip uninstall --yes setuptools pip \
    && /opt/ldsync/bin/python -m compileall -q /opt/ldsync/lib

# --- what is shipped -------------------------------------------------------------------------------
FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ldsync" \
      org.opencontainers.image.description="Keeps LaunchDarkly segments in step with Segment Engage audiences, from Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=environment /opt/ldsync /opt/ldsync
# The admin endpoints must be reached from outside the container. The malloc thresholds keep glibc from
# giving memory back and fetching it again with every poll, which costs a tenth of the throughput
# (32 MiB is the most that every glibc accepts for the second).
ENV PATH="/opt/ldsync/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LDSYNC_ADMIN__HOST=0.0.0.0 \
    MALLOC_TRIM_THRESHOLD_=134217728 \
    MALLOC_MMAP_THRESHOLD_=33554432
USER 10001:10001
WORKDIR /tmp
EXPOSE 9108
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s CMD ["ldsync", "healthcheck"]
ENTRYPOINT ["ldsync"]
CMD ["run"]
