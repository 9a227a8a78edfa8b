"""docs/methods.md: what it names is there, every part has its code and its tests, and GitHub can set the formulae."""

import ast
import re
from functools import cache

import pytest

from places import ROOT

LIBRARY = ROOT / "workflow/scripts/tandemlens"
PAGE = (ROOT / "docs/methods.md").read_text()
SECTIONS = ("Code", "Settings", "Tests", "Source")
SETTINGS = set(re.findall(r"^\| `([\w.]+)` \|", (ROOT / "config/README.md").read_text(), re.M))
COLUMNS = set(re.findall(r"^\| `([\w<>]+)` \|", (ROOT / "docs/data-model.md").read_text(), re.M))
#: lines that begin with `>`, which say what a part is of
TRAILS = [" ".join(re.sub("^> ?", "", block, flags=re.M).split()) for block in re.findall(r"(?:^>.*\n)+", PAGE, re.M)]
FENCES = re.findall(r"^```math\n(.*?)\n```$", PAGE, re.M | re.S)
PROSE = re.sub(r"^```math\n.*?\n```$", "", PAGE, flags=re.M | re.S)
INLINE = re.findall(r"\$([^$]+)\$", PROSE)


@cache
def names_of(module):
    """Functions, classes, constants and methods of a module of the library, or nothing where there is none."""
    path = LIBRARY / f"{module.replace('.', '/')}.py"
    found = set()
    for node in ast.parse(path.read_text()).body if path.exists() else []:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def of_section(trail, name):
    """Text after a section's name, up to the next one."""
    found = re.search(rf"\*\*{name}\*\* (.*?)(?= \*\*(?:{'|'.join(SECTIONS)})\*\*|$)", trail)
    return found.group(1) if found else ""


def is_library(name):
    """Whether a dotted name is a module of the library or something in one."""
    module, _, last = name.rpartition(".")
    return last in names_of(module) or (LIBRARY / f"{name.replace('.', '/')}.py").exists()


def is_setting(name):
    """Whether a name is a setting or a section of them."""
    return any(key == name or key.startswith(f"{name}.") for key in SETTINGS)


@pytest.mark.parametrize("trail", TRAILS, ids=[trail[:60] for trail in TRAILS])
def test_what_a_part_names_is_there(trail):
    code = re.findall(r"`([^`]+)`", of_section(trail, "Code"))
    tests = re.findall(r"`([^`]+)`", of_section(trail, "Tests"))
    assert all((code, tests, of_section(trail, "Source"))), trail
    missing = [name for name in code if not is_library(name)]
    missing += [path for path in tests if not (ROOT / path).is_file()]
    for key, schema in re.findall(r"`([^`/]+)`(?: of `([^`]+)`)?", of_section(trail, "Settings")):
        there = re.search(rf"^ +{key}:", (ROOT / schema).read_text(), re.M) if schema else is_setting(key)
        missing += [] if there else [key]
    assert missing == []


def test_tests_import_what_they_are_said_to_hold():
    """One test file of a part at least imports, by its module, something that the part names as its code."""
    idle = []
    for trail in TRAILS:
        modules = {name.rpartition(".")[0] for name in re.findall(r"`([^`]+)`", of_section(trail, "Code"))}
        texts = [(ROOT / path).read_text() for path in re.findall(r"`([^`]+)`", of_section(trail, "Tests"))]
        if not any(f"tandemlens.{module} import" in text for module in modules for text in texts):
            idle.append(trail[:80])
    assert idle == []


def test_every_name_in_the_prose_is_one_of_the_project():
    named = set(re.findall(r"`([^`]+)`", re.sub(r"^>.*$", "", PROSE, flags=re.M)))
    known = [n for n in named if n in COLUMNS or is_setting(n) or is_library(n) or (ROOT / n).exists()]
    assert named - set(known) == set()


def test_every_part_ends_with_what_it_is_of():
    parts = [part for part in re.split(r"\n\n(?=\*\*|## )", PAGE) if re.match(r"\*\*(?!Symbols)", part)]
    assert [part[:40] for part in parts if not re.search(r"^> \*\*Code\*\*", part, re.M)] == []
    assert len(TRAILS) >= 40


def test_mathematics_can_be_set_on_github():
    """In a line Markdown takes a backslash before punctuation, and an underscore after it, for its own."""
    assert [m for m in INLINE if re.search(r"\\[^A-Za-z\s]|[^\w\s]_|\n\n|[*`]", m) or m != m.strip()] == []
    for formula in [*INLINE, *FENCES]:
        plain = re.sub(r"\\[{}]", "", formula)
        assert plain.count("{") == plain.count("}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert formula.count(r"\begin") == formula.count(r"\end"), formula
