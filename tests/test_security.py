"""Each risk in SECURITY.md has a test, and it is there."""

import ast
import re

import pytest

from tests.conftest import ROOT

SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
RISKS = re.findall(r"^\| (?!risk|---)(.+?) \| (.+?) \| (.+?) \|$", SECURITY, re.M)


@pytest.mark.parametrize("held_by", [held_by for _, _, held_by in RISKS])
def test_the_test_that_holds_it_is_there(held_by: str) -> None:
    [(file, name)] = re.findall(r"^`(tests/[\w/]+\.py)::(\w+)`$", held_by)
    functions = [
        node for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))) if isinstance(node, ast.FunctionDef)
    ]

    assert name in {function.name for function in functions}


def test_no_risk_stands_there_twice_or_without_a_defence() -> None:
    assert len(RISKS) > 30
    assert len({risk for risk, _, _ in RISKS}) == len(RISKS)
    assert all(defence for _, defence, _ in RISKS)
