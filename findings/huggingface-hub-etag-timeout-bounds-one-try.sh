#!/usr/bin/env bash
# huggingface_hub 2.4.0: HF_HUB_ETAG_TIMEOUT does not bound the six tries after the first; where a server does not answer, the
# error comes after six and a half minutes. (This script takes as long.)
#
# Behaviour: with HF_HUB_ETAG_TIMEOUT=1 and HF_HUB_DOWNLOAD_TIMEOUT=1, hf_hub_download of a file that is not in the cache asks
#   once with a limit of 1 s. Then it asks six times more with a limit of 60 s each, with pauses between. A network that
#   drops packets, as many clusters have, therefore costs 390 s for each file, and for each model whose pretrained weights
#   timm, transformers or others fetch with it. With HF_HUB_OFFLINE=1 the error comes at once.
# What one would guess: the two variables say how long a download waits for a server: a second or two, a few with tries.
# What follows: ask the server with a limit of your own before you call it, or run it where it can be stopped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet huggingface-hub==2.4.0
HF_HOME="$folder/home" HF_HUB_ETAG_TIMEOUT=1 HF_HUB_DOWNLOAD_TIMEOUT=1 venv/bin/python - <<'PYTHON' 2>/dev/null
import os
import socket
import threading
import time

arrived = []
listener = socket.create_server(("127.0.0.1", 0), backlog=50)


def accept():
    """Take every connection, and answer none."""
    while True:
        arrived.append((listener.accept()[0], time.monotonic()))


threading.Thread(target=accept, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{listener.getsockname()[1]}"

import huggingface_hub

begun = time.monotonic()
try:
    huggingface_hub.hf_hub_download("timm/resnet18.a1_in1k", "model.safetensors")
except huggingface_hub.errors.LocalEntryNotFoundError as error:
    seconds = time.monotonic() - begun
    print(f"huggingface_hub {huggingface_hub.__version__}: {type(error).__name__} after {seconds:.0f} s")
    print("connections after", ", ".join(f"{at - begun:.0f}" for _, at in arrived), "s")
    assert 300 < seconds < 600, seconds
PYTHON
# Output seen:
#   huggingface_hub 2.4.0: LocalEntryNotFoundError after 388 s
#   connections after 0, 3, 4, 66, 128, 192, 260, 328 s
