"""Print what serving needs, from pyproject.toml: limner's dependencies and its extra "serve",
without torch.

python docker/requirements.py > requirements.txt
"""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
wanted = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
print("\n".join(sorted({one for one in wanted if re.match(r"[\w-]+", one)[0] != "torch"})))
