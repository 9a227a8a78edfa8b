import pytest

from tandemlens.base import digest
from tandemlens.base.errors import InputError


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / "tandemlens"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from tandemlens.b import f\n\ndef g():\n    return f()\n")
    (package / "b.py").write_text('def f():\n    """Say one."""\n    return 1\n')
    (package / "c.py").write_text("x = 1\n")
    (tmp_path / "s.py").write_text("from tandemlens.a import g\ng()\n")
    return tmp_path


def fresh(tree):
    digest._read.cache_clear()
    return digest.code_digest(tree / "s.py", tree)


def test_closure_holds_what_is_imported_and_nothing_else(tree):
    digest._read.cache_clear()
    assert digest.import_closure(tree / "s.py", tree) == ["tandemlens", "tandemlens.a", "tandemlens.b"]


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("b.py", 'def f():\n    """Say one."""\n    return 2\n', True),
        ("b.py", 'def f():\n    """Other words."""\n    # a comment\n    return 1\n', False),
        ("b.py", "def f():\n\n\n    return (1)\n", False),
        ("c.py", "x = 2\n", False),
        ("b.py", "if TYPE_CHECKING:\n    import tandemlens.c\n\n\ndef f():\n    return 1\n", False),
        ("__init__.py", "y = 1\n", True),
    ],
)
def test_only_code_that_runs_counts(tree, file, text, changes):
    before = fresh(tree)
    (tree / "tandemlens" / file).write_text(text)
    assert (fresh(tree) != before) == changes


def test_broken_code_is_named(tree):
    (tree / "tandemlens" / "b.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=r"b\.py cannot be read"):
        fresh(tree)
