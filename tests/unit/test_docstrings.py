"""Public functions of modules say what they take and give, in the sections of numpydoc."""

import ast
import re

import pytest

from places import ROOT

LIBRARY = ROOT / "workflow/scripts/tandemlens"
#: a function that points to another in its first line has its facts there
_TOLD_ELSEWHERE = re.compile(r"([Ss]ee|[Aa]s) `(?!`)")


def gives(function):
    """Whether a function returns or yields a value, those within it aside."""
    waiting, found = list(function.body), False
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        found |= isinstance(node, ast.Yield | ast.Return) and node.value is not None
        waiting += ast.iter_child_nodes(node)
    return found


def lacking(function):
    """What the docstring of a function does not say."""
    text = ast.get_docstring(function) or ""
    if _TOLD_ELSEWHERE.search(text.splitlines()[0] if text else ""):
        return []
    a = function.args
    named = [arg.arg for arg in a.posonlyargs + a.args + a.kwonlyargs if arg.arg not in ("self", "cls")]
    parameters = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.M | re.S)
    told = re.findall(r"\w+", " ".join(re.findall(r"^\S.*?(?= : |$)", parameters.group(1), re.M))) if parameters else []
    missing = [name for name in named if name not in told]
    if gives(function) and not re.search(r"^(Returns|Yields)\n-+\n", text, re.M):
        missing.append("Returns")
    return missing


@pytest.mark.parametrize("layer", sorted(p.name for p in LIBRARY.iterdir() if p.is_dir() and p.name != "__pycache__"))
def test_public_functions_say_what_they_take_and_give(layer):
    found = {}
    for path in sorted((LIBRARY / layer).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and (missing := lacking(node)):
                found[f"{path.relative_to(LIBRARY)}:{node.name}"] = missing
    assert found == {}
