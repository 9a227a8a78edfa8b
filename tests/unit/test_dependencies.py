"""Every direct dependency has a reason in docs/dependencies.md, and whatever the library imports is a direct one."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from places import ROOT
from tandemlens.base.version import VERSION

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: comes with another and has no life of its own here
WITH = {"urllib3": "requests"}


def names(requirements):
    return {re.match(r"[\w-]+", text).group().lower() for text in requirements}


def test_the_version_is_one():
    """That of pyproject.toml; the citation and the newest entry of the changes follow it."""
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M).group(1)
    newest = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M).group(1)
    assert cited == newest == PROJECT["version"] == VERSION


def test_every_dependency_has_a_reason_and_no_reason_is_left_over():
    told = re.findall(r"^\| ([\w-]+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), re.M)
    wanted = names(PROJECT["dependencies"]).union(*map(names, PROJECT["optional-dependencies"].values()))
    assert {package for package, _ in told} - {"package"} == wanted


def test_what_the_library_imports_is_a_direct_dependency():
    """A module that only another package brings goes away with it."""
    found = set()
    for path in (ROOT / "workflow/scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    owners = packages_distributions()
    given = names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["hats"])
    for module in found - sys.stdlib_module_names - {"tandemlens"}:
        plain = (owner.lower().replace("_", "-") for owner in owners[module])
        known = {WITH.get(owner, owner) for owner in plain}
        assert known & given, f"{module} is of {', '.join(known)}, which pyproject.toml does not name"
