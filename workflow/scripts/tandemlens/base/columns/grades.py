"""Columns of what graders say: `catalogue/{votes,grades,graders,next_to_grade}.parquet`."""

from tandemlens.base.columns.registry import Column

#: grade -> score, worst first; `resources/grades/rubric.yaml` says what each means
GRADE_SCORES = {"X": 0, "C": 1, "B": 2, "A": 3}
#: labels that grades give to targets
LENS, NO_LENS = "lens", "no_lens"

#: fields of the files that the inspection page exports
VOTE_FIELDS = [
    Column("target_id", "str", "", "target that was graded"),
    Column("grade", "str", "", "A, B, C or X; as written where it is none of these"),
    Column("note", "str", "", "what the grader wrote, unchanged"),
    Column("grader", "str", "", "who graded"),
    Column("session", "str", "", "sitting in which it was graded"),
    Column("position", "int32", "", "place in the order of the session; -1 if unknown", -1),
    Column("kind", "str", "", "first, duplicate (shown again, blind) or calibration (the answer is known)"),
    Column("time", "str", "", "when, ISO 8601; without offset it is UTC, empty counts as earliest"),
    Column("run_id", "str", "", "run whose page was graded"),
]
#: one row per row of the files
VOTES = [
    Column("file", "str", "", "file of grades"),
    Column("line", "int32", "", "its line, the header is 1; 0 for a file that cannot be read", 0),
    *VOTE_FIELDS,
    Column("used_for", "str", "", "grade, self_agreement, calibration, or empty where the vote is kept but not used"),
    Column("status", "str", "", "ok, or why it is not used (tandemlens.learn.votes.VOTE_STATUS)"),
    Column("reason", "str", "", "one sentence with the value that led to the status, empty if ok"),
]

#: one row per target with a vote that counts
GRADES = [
    Column("target_id", "str", "", "target"),
    Column(
        "grade", "str", "", "A, B, C or X by the mean score: above 2.5, above 1.5, above 0.5, or less", ucd="meta.code"
    ),
    Column("grade_score", "float64", "", "mean of the votes, A 3, B 2, C 1, X 0", 0, 3),
    Column("grade_spread", "float64", "", "standard deviation of the votes; NaN for one vote", 0),
    Column("n_votes", "int32", "", "graders whose vote counts, each once", 1),
    Column("p_lens", "float64", "", "chance of a tandem by the votes, weighed by how reliable the graders are", 0, 1),
    Column("label", "str", "", "lens or no_lens where the votes are sure enough to teach heads, else empty"),
]

#: what the catalogue says of a target where something was graded
GRADED = [
    Column(
        "grade",
        "str",
        "",
        "A, B, C or X by the mean of the votes (docs/grading.md); empty if not graded",
        ucd="meta.code.qual",
    ),
    Column(
        "grade_score",
        "float64",
        "",
        "mean of the votes, A 3, B 2, C 1, X 0; NaN if not graded",
        0,
        3,
        "meta.code.qual;stat.mean",
    ),
    Column("n_votes", "int32", "", "graders whose vote counts", 0, ucd="meta.number"),
    Column(
        "p_lens", "float64", "", "chance of a tandem by the votes alone; NaN if not graded", 0, 1, "stat.probability"
    ),
    Column("used_as_label", "bool", "", "whether a head has learnt from its grade", ucd="meta.code"),
]

_LETTERS = [
    Column(f"{truth}_{letter.lower()}", "float64", "", f"chance that the grader calls {what} {letter}", 0, 1)
    for truth, what in ((LENS, "a tandem"), (NO_LENS, "what is no tandem"))
    for letter in reversed(GRADE_SCORES)
]
#: one row per grader
GRADERS = [
    Column("grader", "str", "", "grader"),
    Column("n_votes", "int32", "", "targets of which the vote counts", 0),
    Column("mean_score", "float64", "", "mean of these votes; NaN without any", 0, 3),
    Column("n_duplicates", "int32", "", "targets graded a second time, blind", 0),
    Column("self_agreement", "float64", "", "share of these with the same grade again; NaN without any", 0, 1),
    Column("self_difference", "float64", "", "mean absolute difference of the two scores; NaN without any", 0, 3),
    Column("n_calibration", "int32", "", "votes on systems whose answer is known", 0),
    Column(
        "reliability",
        "float64",
        "",
        "chance that a tandem gets the better grade than what is none; 0.5 is a coin",
        0,
        1,
    ),
    *_LETTERS,
]

#: one row per target of the catalogue
NEXT = [
    Column("target_id", "str", "", "target"),
    Column("priority", "float64", "", "the larger the sooner; 0 with enough votes, NaN without any score", 0, 1),
    Column("uncertainty", "float64", "", "entropy of the calibrated probability, bit; NaN without one", 0, 1),
    Column(
        "disagreement", "float64", "", "twice the standard deviation of the heads' rank fractions; NaN for one", 0, 1
    ),
    Column("n_votes", "int32", "", "votes so far", 0),
]
