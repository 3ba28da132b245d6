# One image for every process; the command chooses which. Nothing in it needs root or a compiler.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# What builds the wheel comes from a lock as well, and stays behind in this stage.
COPY requirements.lock requirements-embedded.lock ./
RUN python -m venv /opt/trueup \
 && /opt/trueup/bin/pip install --require-hashes --requirement requirements.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --requirement requirements-embedded.lock

COPY pyproject.toml README.md LICENSE catalog.example.toml ./
COPY backoffice backoffice
COPY migrations migrations
COPY reconcile reconcile
COPY sandbox sandbox
COPY webhooks webhooks
COPY worker worker
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/trueup/bin/pip install --no-deps --no-index /wheels/trueup-*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin trueup
COPY --from=build /opt/trueup /opt/trueup
ENV PATH=/opt/trueup/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRUEUP_CATALOG_PATH=/etc/trueup/catalog.toml
USER 10001
# The receiver, and the API.
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
# The default command is the receiver's; docker-compose.yml has the checks of the others.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["trueup"]
CMD ["receiver", "--host", "0.0.0.0", "--port", "8000"]
