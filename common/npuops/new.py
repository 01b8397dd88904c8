"""A new model from one that is there: its scripts and facts, a README to fill in, and a test that runs it on the tiny text.

Only models/<name>/ is made. The tiny text and weights stay those of the model that it was made from, until it has its own.
"""
import json
import re
import shutil
from pathlib import Path

from npukit.errors import UserError
from npukit.files import aside

OWN = re.compile(r"README.*|test.*|bench.*|oracle.*|__pycache__|\..*")  # what belongs to the other model alone
README = """# {name}

Made from [{origin}](../{origin}/README.md), whose scripts, tiny text and weights these are until they are replaced.

```sh
make MODEL={name} BS=1 all
```

## Original command → here

## Differences from the original

There is no original.
"""
TEST = '''"""The tiny text through every stage, as `make` runs it."""
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_every_stage_on_the_tiny_text(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "-C", ROOT, "ENGINE=none", f"VENV={sys.prefix}", f"OUT_ROOT={tmp_path}", f"MODEL={HERE.name}", "LOOP=3", "all"]
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and re.search(rf"^{HERE.name} +tiny +cpu .* pass$", done.stdout, re.M), done.stdout
'''


def make(models: Path, name: str, origin: str) -> Path:
    """Make models/<name> from models/<origin> and return it; raise UserError for a name that is taken or that make cannot have."""
    place, source = models / name, models / origin
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"MODEL='{name}'; a model's name is small letters, digits and _, and begins with a letter")
    if place.exists():
        raise UserError(f"{place} is there already; choose another MODEL=, or remove it")
    if not (source / "Makefile").is_file():
        known = " ".join(sorted(path.parent.name for path in models.glob("*/Makefile")))
        raise UserError(f"FROM='{origin}'; it is one of: {known}")
    with aside(place) as new:
        shutil.copytree(source, new, ignore=lambda _, names: [each for each in names if OWN.fullmatch(each)])
        (new / "README.md").write_text(README.format(name=name, origin=origin))
        (new / f"test_{name}.py").write_text(TEST)
        quoted = json.loads((new / "original.json").read_text())
        quoted |= {"source": "none: this model mirrors no README", "rows": []}
        (new / "original.json").write_text(json.dumps(quoted, indent=1) + "\n")
    return place
