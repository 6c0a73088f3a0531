#!/usr/bin/env bash
# label-studio-sdk 2.1.2: the export as masks (BRUSH_TO_PNG) names the task and not the image, and cannot be read back
# without another export of the same project.
#
# Behaviour: the converter writes task-ID-annotation-ID-by-USER-TOOL-LABEL-NUMBER.png for each stroke, and nothing else.
#   No part of that is the image's name, and the PNG has no text in it. Two labels are told apart by the name alone,
#   where tool and label are joined by the hyphen that both may have: the label "T-cell" of the tool "brush" and the
#   label "cell" of the tool "brush-T" give the same names. An annotation without a stroke leaves no file, so an
#   image of background alone cannot be told from one that nobody looked at.
# What one would guess: masks that bear the names of their images, as other tools export them.
# What follows: export the project as CSV, JSON-MIN or JSON too. That names the image of each task, and the tools.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet label-studio-sdk==2.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.brush import mask2rle
from PIL import Image

mask = np.zeros((20, 30), np.uint8)
mask[4:9, 5:15] = 255
names = {}
for tool, label in (("brush", "T-cell"), ("brush-T", "cell")):
    stroke = {
        "type": "brushlabels",
        "from_name": tool,
        "to_name": "image",
        "original_width": 30,
        "original_height": 20,
        "value": {"format": "rle", "rle": mask2rle(mask), "brushlabels": [label]},
    }
    annotations = [{"id": 8, "completed_by": 1, "result": result} for result in ([stroke], [])]
    tasks = [
        {"id": number, "data": {"image": f"{image}.jpg"}, "annotations": [annotation]}
        for number, (image, annotation) in enumerate(zip(("lung", "liver"), annotations), start=1)
    ]
    Path("tasks.json").write_text(json.dumps(tasks))
    config = f"""<View><Image name="image" value="$image"/><BrushLabels name="{tool}" toName="image">
        <Label value="{label}"/></BrushLabels></View>"""
    out = Path(tool)
    out.mkdir()
    Converter(config, ".").convert("tasks.json", str(out), "BRUSH_TO_PNG", is_dir=False)
    names[tool, label] = sorted(path.name for path in out.iterdir())
    print(f"tool {tool}, label {label}:", names[tool, label])
    with Image.open(out / names[tool, label][0]) as image:
        assert not image.info, image.info
(first, second) = names.values()
assert first == second == ["task-1-annotation-8-by-1-brush-T-cell-0.png"]
print("an image's name in any of them:", any("lung" in name for name in first))
print("files of the task without a stroke:", sum("task-2" in name for name in first))
PYTHON
# Output seen:
#   tool brush, label T-cell: ['task-1-annotation-8-by-1-brush-T-cell-0.png']
#   tool brush-T, label cell: ['task-1-annotation-8-by-1-brush-T-cell-0.png']
#   an image's name in any of them: False
#   files of the task without a stroke: 0
