"""Which tools there are at all."""
import pytest


@pytest.mark.parametrize("tool", ["atc", "npu-smi", "msame", "ais_infer.py"])
def test_command(case, tool):
    case.do("tools.commands", f"type -P {tool} || {{ echo {tool}: command not found; exit 127; }}")


@pytest.mark.parametrize("module", ["ais_bench", "aclruntime"])
def test_module(case, module):
    case.do("tools.modules", f"python3 -c 'import {module}'")
