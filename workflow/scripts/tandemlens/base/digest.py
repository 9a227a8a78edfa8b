"""Digest of the code a stage really runs: its script and the library modules that it imports, transitively.

Snakemake does not see what a script imports, so every rule carries this digest as the parameter ``code``. It is
computed from the syntax tree without comments, docstrings and what is imported for types alone, so that editing them
reruns nothing.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from tandemlens.base.errors import InputError

_PACKAGE = "tandemlens"


def code_digest(script: str | Path, library: str | Path) -> dict[str, str]:
    """Digests of a script and of its static import closure inside the library.

    Parameters
    ----------
    script : str or Path
        The file that a rule runs.
    library : str or Path
        Folder that holds the package `tandemlens`.

    Returns
    -------
    dict of str
        File of the script and dotted module -> 16 hexadecimal digits each, so that a stale product can say
        which file changed; independent of where the tree lies and of comments, docstrings and layout.

    Raises
    ------
    InputError
        If a file cannot be parsed, naming file and line.
    """
    library, script = Path(library), Path(script)
    return {script.name: _read(script)[1], **{name: _read(path)[1] for name, path in _closure(script, library).items()}}


def import_closure(script: str | Path, library: str | Path) -> list[str]:
    """Library modules that a script imports, directly or through others.

    Parameters
    ----------
    script, library : str or Path
        As in `code_digest`.

    Returns
    -------
    list of str
        Dotted names, sorted.
    """
    return list(_closure(Path(script), Path(library)))


def _closure(script: Path, library: Path) -> dict[str, Path]:
    """Dotted name -> file of the modules that a script imports, in the order of their names."""
    found: dict[str, Path] = {}
    waiting = list(_read(script)[0])
    while waiting:
        name = waiting.pop()
        path = None if name in found else _module_file(name, library)
        if path is not None:
            found[name] = path
            waiting += _read(path)[0]
    return dict(sorted(found.items()))


def _module_file(name: str, library: Path) -> Path | None:
    base = library.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, OSError) as error:
        raise InputError(f"code of {path} cannot be read: {error}; mend the file") from error


@cache
def _read(path: Path) -> tuple[frozenset[str], str]:
    """Library modules that a file imports, and its digest; a file is parsed once, as every start reads them all."""
    tree = _tree(path)
    tree.body = [node for node in tree.body if not for_types(node)]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _drop_docstring(node)
    # importing a module runs its parent packages first
    parents = {name.rsplit(".", up)[0] for name in names for up in range(1, name.count(".") + 1)}
    ours = frozenset(n for n in names | parents if n == _PACKAGE or n.startswith(_PACKAGE + "."))
    return ours, hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def for_types(node: ast.AST) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``, which never runs.

    Parameters
    ----------
    node : ast.AST

    Returns
    -------
    bool
    """
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _drop_docstring(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
        node.body = node.body[1:] or [ast.Pass()]
