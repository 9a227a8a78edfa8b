# a run is described by one file: merged with the default run it would get samples that it does not name
if "samples" not in config:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/stamps.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/augment.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/fuse.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/crossmatch.smk"
include: "workflow/rules/grades.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/page.smk"


#: what the run is for
ENDS = [
    f"{RESULTS}/catalogue/candidates.parquet",
    f"{RESULTS}/catalogue/coverage.parquet",
    f"{RESULTS}/report/index.html",
    *[f"{RESULTS}/report/simulation.html"] * bool(SIMULATED),
    *[f"{RESULTS}/report/evaluation.html"] * bool(JUDGED),
    *[f"{RESULTS}/report/generator.html"] * bool(SYNTHETIC),
    *[f"{RESULTS}/catalogue/expected.parquet"] * CAN_EXPECT,
    *per_shard(f"scores/{'fused' if FUSES else 'colour'}.parquet", "known"),
    f"{RESULTS}/report/cards/colour.md",
    *[f"{RESULTS}/catalogue/hats"] * SETTINGS["catalogue"]["hats"],
    *[f"{RESULTS}/catalogue/graders.parquet"] * bool(GRADE_FILES),
    *[f"{RESULTS}/catalogue/next_to_grade.parquet"] * SETTINGS["grades"]["next"],
]


include: "workflow/rules/provenance.smk"


rule all:
    default_target: True
    input:
        ENDS,
        f"{RESULTS}/ro-crate-metadata.json",
    localrule: True
