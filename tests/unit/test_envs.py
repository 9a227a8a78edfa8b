"""The conda environment of a rule holds whatever its script imports, in the versions of the pip lock."""

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml

from places import ROOT
from tandemlens.base.digest import for_types, import_closure
from tandemlens.heads.declaration import head_names, read_declaration

SCRIPTS = ROOT / "workflow/scripts"
PACKAGE_OF = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "astropy_healpix": "astropy-healpix",
}
RULES = sorted(
    {
        pair
        for file in (ROOT / "workflow/rules").glob("*.smk")
        for pair in re.findall(r'conda:\s+"\.\./\.\./(\S+)".*?script:\s+"\.\./scripts/(\S+)"', file.read_text(), re.S)
    }
    # the survey names the script that fetches
    | {("envs/sky.yaml", f"sources/{path.name}") for path in (SCRIPTS / "sources").glob("*.py")}
    # a head declares its environment, and its script bears its name
    | {
        (f"envs/{read_declaration(head, SCRIPTS).environment}.yaml", f"heads/head_{head}.py")
        for head in head_names(SCRIPTS)
    }
)


def packages(env):
    """Name -> version, of conda and of the list that conda gives to pip."""
    dependencies = yaml.safe_load((ROOT / env).read_text())["dependencies"]
    listed = [d for d in dependencies if isinstance(d, str)]
    listed += [d.replace("==", "=") for part in dependencies if isinstance(part, dict) for d in part["pip"]]
    return dict(d.split(" =") for d in listed)


def third_party(script):
    files = [script]
    for module in import_closure(script, SCRIPTS):
        base = SCRIPTS.joinpath(*module.split("."))
        files.append(base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py")
    names = set()
    statements = [n for f in files for n in ast.parse(f.read_text()).body if not for_types(n)]
    for node in (n for s in statements for n in ast.walk(s)):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return {PACKAGE_OF.get(n, n) for n in names - sys.stdlib_module_names - {"tandemlens"}}


def test_every_rule_names_its_environment():
    scripts = {s for _, s in RULES}
    assert scripts == {str(f.relative_to(SCRIPTS)) for f in SCRIPTS.glob("*.py")} - {
        "why.py",
        "manual.py",
        "validation.py",
        "trail.py",
        "verify.py",
    } | {str(f.relative_to(SCRIPTS)) for folder in ("heads", "sources") for f in (SCRIPTS / folder).glob("*.py")}


@pytest.mark.parametrize(("env", "script"), RULES)
def test_the_environment_holds_what_the_script_imports(env, script):
    assert third_party(SCRIPTS / script) <= set(packages(env))


@pytest.mark.parametrize("env", sorted(p.name for p in (ROOT / "envs").iterdir()))
def test_conda_and_pip_agree_on_versions(env):
    lock = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    lock = {name.lower().replace("_", "-"): version for name, version in lock}
    # the CPU build has a name of its own on PyPI, and none on conda-forge
    lock["xgboost"] = lock["xgboost-cpu"]
    for name, version in packages(f"envs/{env}").items():
        if name not in ("python", "pip"):
            assert (lock[name] + ".").startswith(version + ".")


def test_no_script_bears_the_name_of_a_package():
    # Snakemake puts the folder of scripts on the path: numba, for one, imports `coverage` where it finds it
    scripts = {p.stem for p in SCRIPTS.glob("*.py")}
    assert not scripts & (sys.stdlib_module_names | set(packages_distributions()) | {"coverage"})
