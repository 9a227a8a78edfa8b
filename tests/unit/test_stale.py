from tandemlens.base.stale import changed_settings, stale_causes

CHANGE = (
    "Union of exclusive params before and now across all output: "
    "before: {'low': 1, 'high': 2} now: {'low': 2, 'high': 1} "
)
TEXT = f"""
rule match:
    input: a
    output: b
    jobid: 3
    reason: Params have changed since last execution: {CHANGE}
    wildcards: shard=x

rule segment:
    output: c
    reason: Input files updated by another job: b
"""


def test_a_dry_run_is_told_as_settings():
    causes, followers = stale_causes(TEXT)
    assert causes == {("match", "setting high: 2 -> 1"): 1, ("match", "setting low: 1 -> 2"): 1}
    assert followers == {"segment": 1}


def test_code_and_rows_are_named():
    before = [{"tandemlens.a": "1", "match.py": "2", "deep": {"x": 1}}, "rows1"]
    now = [{"tandemlens.a": "3", "match.py": "2", "deep": {"x": 2}}, "rows2"]
    assert changed_settings(before, now) == [
        "rows of the target list changed",
        "setting deep.x: 1 -> 2",
        "code of tandemlens.a changed",
    ]
