"""Job texts: Slurm's template with its values, and manifests as YAML.

No value can become more than one word of a shell or one scalar of YAML.
The libraries are imported where they are used: `make doctor CLUSTER=...` runs before there is an environment.
"""
import json
import shlex
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"


def sbatch(**values) -> str:
    """Return templates/job.sbatch with its values; whatever the template prints is quoted for a shell."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, finalize=words,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.get_template("job.sbatch").render(values)


def words(value) -> str:
    """Return a value as one word of a shell, a list as its words; the same quotes hold in a line of #SBATCH."""
    return " ".join(map(words, value)) if isinstance(value, (list, tuple)) else shlex.quote(str(value))


def manifest(document: dict) -> str:
    """Return a manifest as YAML."""
    import yaml

    plain = json.loads(json.dumps(document))  # no object is in it twice: YAML would write a reference to the first
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=2**20)


def given(**values) -> dict:
    """Return the values that are not None: a key without a value is left out of a manifest."""
    return {name: value for name, value in values.items() if value is not None}
