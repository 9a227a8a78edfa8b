"""A stand-in for the program conda: what Snakemake asks of it, with this Python's packages in place of a solver's.

An environment is refused where a package that it lists is not here in that version. Its Python notes that it was used.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

import yaml

#: packages that have another name here
HERE = {"xgboost": "xgboost-cpu"}
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'
PYTHON = '#!/bin/sh\necho used >> "{prefix}/used"\nexec "{python}" "$@"\n'


def install(folder):
    """Put a program `conda` into a folder."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/activate").write_text(ACTIVATE)
    program = folder / "bin/conda"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{folder}" "$@"\n')
    program.chmod(0o755)
    return folder / "bin"


def lacking(dependencies):
    """What of an environment is not here."""
    listed = [d for d in dependencies if isinstance(d, str)]
    listed += [d.replace("==", "=") for part in dependencies if isinstance(part, dict) for d in part["pip"]]
    for name, version in (d.split(" =") for d in listed):
        found = (
            "{}.{}.{}".format(*sys.version_info)
            if name == "python"
            else metadata.version(HERE.get(name, name)).split("+")[0]
        )
        # pip itself comes with the Python of a conda environment
        if name != "pip" and not f"{found}.".startswith(f"{version}."):
            yield f"{name} {version} (here is {found})"


def create(file, prefix):
    """Make an environment."""
    missing = list(lacking(yaml.safe_load(Path(file).read_text())["dependencies"]))
    if missing:
        sys.exit(f"{file}: {', '.join(missing)}")
    (prefix / "bin").mkdir(parents=True)
    (prefix / "used").touch()
    (prefix / "bin/python").write_text(PYTHON.format(prefix=prefix, python=sys.executable))
    (prefix / "bin/python").chmod(0o755)


if __name__ == "__main__":
    root, *asked = sys.argv[1:]
    if asked[0] == "--version":
        print("conda 24.7.1")
    elif asked[0] == "info":
        print(json.dumps({"conda_prefix": root, "platform": "linux-64"}))
    elif asked[0] == "config":
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif asked[:2] == ["env", "create"]:
        options = dict(a.split("=", 1) if "=" in a else (a, b) for a, b in zip(asked, [*asked[1:], ""], strict=True))
        create(options["--file"], Path(options["--prefix"]))
    elif asked[0] != "clean":
        sys.exit(f"the stand-in for conda does not know {asked}")
