# One image for every role: `docker run … tallybook run relay`. It needs a PostgreSQL and a Kafka; docker-compose.yml has both.
FROM python:3.11-slim AS dependencies
RUN python -m venv /opt/venv
COPY requirements-runtime.lock /tmp/
RUN /opt/venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: -r /tmp/requirements-runtime.lock

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data tallybook && install -d -o tallybook -g tallybook -m 0711 /data
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY domain domain
COPY schemas schemas
COPY infra infra
COPY documents documents
COPY gateway_adapters gateway_adapters
COPY sandbox_gateway sandbox_gateway
COPY projections projections
COPY processors processors
COPY usage usage
COPY api api
COPY host host
COPY cli cli
RUN /opt/venv/bin/python -m compileall -q domain schemas infra documents gateway_adapters sandbox_gateway projections processors usage api host cli
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TALLYBOOK_DATA_DIR=/data
USER tallybook
VOLUME /data
# SIGTERM stops a role gracefully.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "cli.main"]
CMD ["--help"]
