# The service alone: no torch, no compiler, no pip, not root, nothing written. `docker build .` makes the CPU image,
# `docker build --target cuda .` one for NVIDIA's GPUs. What is installed is locked by hash (deploy/requirements*.txt,
# written by `make lock`), wheels only. `python -m benchmarks.image` takes the same steps without an engine.
ARG PYTHON=python:3.11.14-slim-bookworm

# Our own wheel, and a Python that brings packages into a virtual environment which has no installer itself.
FROM ${PYTHON} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY deploy/requirements-build.txt deploy/requirements-build.txt
RUN python -m pip install --no-deps --only-binary :all: --require-hashes -r deploy/requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY training training
COPY on_ray on_ray
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheels . \
    && python -m venv --without-pip /opt/percept

# Packages' own tests are left out. Bytecode is made here, since the image is read-only; with `unchecked-hash` a start does
# not look at the sources.
FROM wheel AS packages
COPY deploy/requirements.txt deploy/requirements.txt
RUN python -m pip --python /opt/percept/bin/python install --no-compile --no-deps --only-binary :all: --require-hashes \
        -r deploy/requirements.txt \
    && python -m pip --python /opt/percept/bin/python install --no-compile --no-deps --no-index /build/wheels/*.whl \
    && find /opt/percept/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/percept/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/percept/lib

# CUDA and cuDNN come as NVIDIA's own wheels, pinned and hashed like the rest: the same Python and Debian as on the CPU.
FROM wheel AS packages-cuda
COPY deploy/requirements-cuda.txt deploy/requirements-cuda.txt
RUN python -m pip --python /opt/percept/bin/python install --no-compile --no-deps --only-binary :all: --require-hashes \
        -r deploy/requirements-cuda.txt \
    && python -m pip --python /opt/percept/bin/python install --no-compile --no-deps --no-index /build/wheels/*.whl \
    && find /opt/percept/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/percept/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/percept/lib

# Python's image leaves out the bytecode of the standard library: without it every start would compile it again.
FROM ${PYTHON} AS service
RUN python -m compileall -q --invalidation-mode unchecked-hash \
        -x 'site-packages|ensurepip|idlelib|lib2to3|tkinter|turtledemo|/test' /usr/local/lib/python3.11 \
    && groupadd --gid 10001 percept \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin percept
COPY artifacts /srv/percept/artifacts
ENV PATH=/opt/percept/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PERCEPT_ARTIFACTS=/srv/percept/artifacts \
    PERCEPT_HOST=0.0.0.0 \
    PERCEPT_PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=1s CMD ["percept", "health"]
CMD ["percept", "serve"]

# The driver is the host's: NVIDIA's container toolkit brings it in and reads these two.
FROM service AS cuda
COPY --from=packages-cuda /opt/percept /opt/percept
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM service AS cpu
COPY --from=packages /opt/percept /opt/percept
