# a run is described by one file: merged with the default run it would get samples that it does not name
if "samples" not in config:

    configfile: "config/config.yaml"


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
include: "workflow/rules/ablation.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/catalogue/candidates.parquet",
        f"{RESULTS}/catalogue/coverage.parquet",
        f"{RESULTS}/report/index.html",
        [f"{RESULTS}/report/simulation.html"] if SIMULATED else [],
        [f"{RESULTS}/report/evaluation.html"] if LEARNS else [],
        [f"{RESULTS}/report/generator.html"] if SYNTHETIC else [],
        [f"{RESULTS}/catalogue/expected.parquet"] if CAN_EXPECT else [],
        per_shard(f"scores/{'fused' if LEARNS else 'colour'}.parquet", "known"),
    localrule: True
