"""What every script imports costs before it does anything: CPU time, and which packages it is spent on.

Run::

    PYTHONPATH=workflow/scripts .venv/bin/python benchmarks/imports.py > benchmarks/results/imports.md

Each script's imports are made in a fresh interpreter; the CPU time is the least of three, less that of an empty one.
What single packages take is that of one more, with `-X importtime`: the time of their own modules.
"""

import ast
import re
import resource
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tandemlens.base.digest import import_closure

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow/scripts"
#: what the tables below name; the rest is small
LEAST_SECONDS = 0.1
NO_PACKAGES = sys.stdlib_module_names | {"tandemlens"}


def imports(script):
    """The import statements at the top of a script, as source."""
    body = ast.parse(script.read_text(encoding="utf-8")).body
    return "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))


def cpu_seconds(code):
    """CPU time of an interpreter that runs `code`: the least of three."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def shares(code):
    """Package -> seconds of its own modules."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, text=True)
    found = defaultdict(float)
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr):
        found[name.split(".")[0]] += int(own) / 1e6
    return found


def main():
    empty = cpu_seconds("")
    print(f"CPU seconds of the imports of every script, Python {sys.version.split()[0]}; nothing: {empty:.2f}.")
    print("\n| script | CPU s | modules of ours | packages above 0.1 s |\n|---|---|---|---|")
    scripts = [p for pattern in ("*.py", "heads/*.py", "sources/*.py") for p in sorted(SCRIPTS.glob(pattern))]
    for script in scripts:
        code = imports(script)
        spent = sorted(shares(code).items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {s:.1f}" for name, s in spent if s >= LEAST_SECONDS and name not in NO_PACKAGES)
        ours = len(import_closure(script, SCRIPTS))
        print(f"| {script.relative_to(SCRIPTS)} | {cpu_seconds(code) - empty:.2f} | {ours} | {named} |", flush=True)


if __name__ == "__main__":
    main()
