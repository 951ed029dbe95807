# The service: exported models in, text out. No training code runs in it.
#   docker build --tag ocr-service .
#   docker run --publish 8000:8000 --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --volume "$PWD/work/3_exported:/models:ro" ocr-service detector=/models/det recognizer=/models/rec
FROM python:3.11-slim-bookworm

# OpenCV's own needs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ocr

WORKDIR /app
COPY requirements/serve.txt requirements/serve.txt
RUN pip install --no-cache-dir --require-hashes --requirement requirements/serve.txt

COPY ocr_pipeline ocr_pipeline
COPY configs/4_serve.yaml configs/4_serve.yaml

USER 10001:10001
# /tmp is all that it writes to: uploads above 1 MB, and which engine was measured to be the fastest.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OCR_PIPELINE_CACHE=/tmp/ocr_pipeline
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "ocr_pipeline", "serve", "--config", "configs/4_serve.yaml", "host=0.0.0.0"]
