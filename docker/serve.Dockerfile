# Serves exported models; without torch. From the top of the repository:
#   docker build -f docker/serve.Dockerfile -t limner-serve .
#   docker run -p 127.0.0.1:8000:8000 -v "$PWD/runs/lesions/model.onnx:/models/model.onnx:ro" -e LIMNER_TOKEN=... limner-serve
FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /limner && /limner/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve]'

FROM python:3.11-slim
COPY --from=build /limner /limner
RUN useradd --system --uid 10001 limner
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["/limner/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["/limner/bin/limner", "serve"]
# LIMNER_TOKEN must be set, since the service listens on all addresses of the container; --allow-host names what it is called by
CMD ["/models/model.onnx", "--host", "0.0.0.0", "--port", "8000"]
