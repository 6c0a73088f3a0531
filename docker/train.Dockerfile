# Trains, on a GPU where there is one. From the top of the repository:
#   docker build -f docker/train.Dockerfile -t limner-train .
#   docker run --gpus all --shm-size 2g -v "$PWD:/work" limner-train train lesions/ --set train.device=cuda
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /limner && /limner/bin/pip install --no-cache-dir --constraint constraints.txt '.[dicom,export,timm,watch]'

FROM python:3.11-slim
# a compiler, which torch.compile calls
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/* && useradd --create-home --uid 10001 limner
COPY --from=build /limner /limner
USER 10001
WORKDIR /work
ENTRYPOINT ["/limner/bin/limner"]
CMD ["--help"]
