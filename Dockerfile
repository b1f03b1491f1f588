# One image for every role; docker-compose.yml says what each container runs.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
    && apt-get install --no-install-recommends -y gcc=4:12.2.* libc6-dev=2.36-* \
    && rm -rf /var/lib/apt/lists/*
COPY requirements.txt constraints.txt /build/
WORKDIR /build
# TORCH_INDEX: set it to a CPU or CUDA wheel index to choose the build of torch
ARG TORCH_INDEX=""
RUN python -m venv /opt/astrid \
    && /opt/astrid/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt \
    && /opt/astrid/bin/python -m compileall -q /opt/astrid

FROM python:3.11-slim-bookworm
ENV PATH=/opt/astrid/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ASTRID_PRODUCTION=true \
    ASTRID_DATA_DIR=/var/lib/astrid
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/astrid astrid
COPY --from=build /opt/astrid /opt/astrid
COPY --chown=root:root . /srv/astrid
WORKDIR /srv/astrid
RUN ASTRID_SECRET_KEY=only-for-collecting-static-files-while-building-the-image-0123456789 \
    ASTRID_DATA_DIR=/srv/astrid/var python manage.py collectstatic --noinput \
    && chown -R astrid:astrid /srv/astrid/var
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/api/v1/health/live/', timeout=4)"]
CMD ["uvicorn", "astrid_site.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "5"]
