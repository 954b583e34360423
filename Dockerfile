# The service alone: no torch, no compiler, no root.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /opt/percept
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY training training
COPY on_ray on_ray
RUN /opt/percept/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home percept
COPY --from=build /opt/percept /opt/percept
COPY artifacts /srv/percept/artifacts
ENV PATH=/opt/percept/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PERCEPT_ARTIFACTS=/srv/percept/artifacts \
    PERCEPT_HOST=0.0.0.0 \
    PERCEPT_PORT=8000
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["percept", "serve"]
