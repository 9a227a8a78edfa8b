"""Memory and time of jobs grow with what they have to do."""

import re

from trees import plant


def test_a_large_shard_is_given_more_time(tmp_path):
    rows = [f"n{k},{30 + k / 300},{k / 300},0.3,40" for k in range(120)]
    tree = plant(tmp_path / "tree", targets="\n".join(["name,ra,dec,z,richness", *rows]) + "\n")
    said = tree.snakemake("--dry-run")
    needs = re.findall(r"^rule render:\n.*?input: results/mock/(\w+)/.*?runtime=(\d+)", said, re.MULTILINE | re.DOTALL)
    # 5 min and 4 s a system: all 120 lie in one cell of the sky, and in training there are two
    assert dict(needs) == {"search": "13", "train": "5"}
    # a head that learns from the training sample asks for the memory of that alone
    assert re.search(r"^rule fit_classic:\n.*?mem_mb=2004,", said, re.MULTILINE | re.DOTALL)
