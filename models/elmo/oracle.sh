#!/usr/bin/env bash
# Make the Python that has allennlp, whose packages get on with nobody else's. usage: oracle.sh PYTHON FOLDER
set -euo pipefail
"$1" -m venv "$2"
"$2/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$(dirname "$0")/oracle.txt"
# allennlp imports torchvision, of which ELMo needs nothing.
site=$("$2/bin/python" -c 'import site; print(site.getsitepackages()[0])')
mkdir -p "$site/torchvision"
touch "$site/torchvision/__init__.py" "$2/ready"
