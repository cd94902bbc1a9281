# The serving image: no training stack, no tests, no root. Build: docker build -t mingbian .
#
# Migrations never run by themselves: a new release migrates once, before its servers start.
#   docker run --rm -v mingbian:/var/lib/mingbian mingbian data migrate
#   docker run --rm -v mingbian:/var/lib/mingbian mingbian data keys bootstrap
#   docker run --read-only --tmpfs /tmp -v mingbian:/var/lib/mingbian -p 8000:8000 mingbian

FROM python:3.11-slim-bookworm AS builder
# To send traces: docker build --build-arg 'EXTRAS=[telemetry]' ...
ARG EXTRAS=
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".$EXTRAS" \
 && /opt/venv/bin/pip uninstall --yes mingbian setuptools pip

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 mingbian \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mingbian --shell /usr/sbin/nologin mingbian \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/mingbian
COPY --from=builder /opt/venv /opt/venv
WORKDIR /opt/mingbian
COPY LICENSE ./
COPY data ./data
COPY models ./models
COPY serving ./serving
# The root file system may be read-only at run time, so bytecode is written now or never.
RUN /opt/venv/bin/python -m compileall -q data models serving \
 && /opt/venv/bin/python -c "import data, models, serving"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MINGBIAN_ENVIRONMENT=production \
    MINGBIAN_HOST=0.0.0.0 \
    MINGBIAN_DATABASE_URL=sqlite:////var/lib/mingbian/mingbian.db \
    MINGBIAN_KEYS=/var/lib/mingbian/keys \
    MINGBIAN_PROMOTED=/var/lib/mingbian/bundles
USER 10001:10001
VOLUME /var/lib/mingbian
EXPOSE 8000
# Liveness, not readiness: a database that is away for a minute is no reason to kill the server.
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["python", "-m"]
CMD ["serving", "run"]
