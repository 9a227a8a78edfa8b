import subprocess
import sys


def why(tree):
    command = [sys.executable, "workflow/scripts/why.py", "--configfile", "small.yaml"]
    done = subprocess.run(command, cwd=tree.folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_nothing_is_stale(tree):
    assert why(tree) == "Nothing to rerun: every product is up to date.\n"


def test_the_changed_file_is_named(tree):
    tree.append("workflow/scripts/tandemlens/image/photometry.py", "\nEDITED = True\n")
    said = why(tree)
    assert "measure (3 jobs): code of tandemlens.image.photometry changed" in said
    assert "features (3)" in said.split("and what follows:")[1]


def test_the_changed_setting_is_named(tree):
    tree.configure(tandems={"dz_min": 0.2})
    assert "catalogue (1 job): setting tandems.dz_min: 0.15 -> 0.2" in why(tree)
