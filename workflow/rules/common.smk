import sys
from functools import cache
from glob import glob
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from tandemlens.base.columns.scores import FUSED
from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.digest import code_digest
from tandemlens.base.errors import TandemlensError
from tandemlens.base.locks import drop_stale_locks
from tandemlens.base.samples import (
    choose_bands,
    release_name,
    twin_classes,
    used_settings,
)
from tandemlens.heads.declaration import (
    RUN_PRODUCTS,
    SHARD_PRODUCTS,
    check_heads,
    check_models,
    read_declaration,
)
from tandemlens.survey.check import check_survey
from tandemlens.survey.plan import load_plan
from tandemlens.survey.remote import at_hand, is_remote

if workflow.is_main_process:
    # takes long to import, and a job on a cluster starts Snakemake twice
    from tandemlens.sky.check import check_sample

    drop_stale_locks()

try:
    SETTINGS = validate_settings(
        config, load_schema(ROOT / "config/schemas/config.schema.yaml")
    )
    SURVEY_NAME = SETTINGS["samples"]["search"]["survey"]
    SURVEY = load_survey(
        SURVEY_NAME,
        ROOT / "config/surveys",
        load_schema(ROOT / "config/schemas/survey.schema.yaml"),
    )
    BANDS = choose_bands(
        SETTINGS["samples"]["search"]["bands"], SURVEY_NAME, list(SURVEY["bands"])
    )
    SEDS = {p.stem: str(p) for p in sorted(Path("resources/seds").glob("*.csv"))}
    if workflow.is_main_process:
        check_survey(
            SURVEY_NAME,
            SURVEY,
            BANDS,
            SETTINGS["cutout"]["size_arcsec"],
            [s["pixels"] for s in SETTINGS["samples"].values()],
        )
        for name, settings in SETTINGS["samples"].items():
            check_sample(name, settings, SURVEY_NAME, SURVEY, BANDS, SEDS)
    HEADS = [read_declaration(name, SCRIPTS) for name in SETTINGS["heads"]]
    check_heads(HEADS, BANDS, SETTINGS)
except TandemlensError as error:
    raise WorkflowError(str(error))

RESULTS = SETTINGS["results"]
#: the script that brings images; a survey without any never runs it
FETCH = f"sources/{SURVEY['source'] if SURVEY['source'] != 'none' else 'files'}"
# jobs read it from here: patience and politeness are no parameter of a rule, and change nothing that is there
config["fetch"] = SETTINGS["fetch"]
DATA = SETTINGS["data"]
ROAD = f"{RESULTS}/{SURVEY_NAME}/{{sample}}"
PIXELS = {name: s["pixels"] for name, s in SETTINGS["samples"].items()}
SIMULATED = [name for name, pixels in PIXELS.items() if pixels != "survey"]
#: a survey that says how deep and sharp its images are, through which filters, tells how many tandems to expect
CAN_EXPECT = all({"mock", "filter"} <= SURVEY["bands"][band].keys() for band in BANDS)
#: heads are trained on the sample for it, or another run has done so; with neither nothing is fused
LEARNS = "train" in SIMULATED
ELSEWHERE = SETTINGS["models"]
FUSES = LEARNS or bool(ELSEWHERE)
HEADS = [head for head in HEADS if FUSES or not head.trained]
#: the sample that tells what the heads are worth
CHECKED = "known" in SIMULATED and bool(ELSEWHERE)
JUDGED = "train" if LEARNS else "known" if CHECKED else None
try:
    if ELSEWHERE and workflow.is_main_process:
        check_models(ELSEWHERE, HEADS, BANDS, LEARNS)
except TandemlensError as error:
    raise WorkflowError(str(error))
#: whether a head learns from synthetic systems
SYNTHETIC = LEARNS and any(
    SETTINGS[head.name].get("synthetic", False) for head in HEADS
)
#: what an injected sample paints on is a sample of its own, which is only fetched
CANVAS = "_canvas"


def in_data(path):
    """A path of the settings: as it is where it exists, else below the data folder."""
    there = not DATA or is_remote(path) or Path(path).exists()
    return str(path) if there else str(Path(DATA) / path)


def files_like(pattern):
    """Files of a pattern of the settings: in the folder of the run where there are some, else below the data folder."""
    return glob(pattern) or glob(str(Path(DATA or ".") / pattern))


#: what people said of candidates, and the known answers among it
ANSWERS = Path(in_data(SETTINGS["grades"]["calibration"]))
GRADE_FILES = sorted(
    path for path in files_like(SETTINGS["grades"]["files"]) if Path(path) != ANSWERS
)


@cache
def digest_of_code(script):
    return code_digest(SCRIPTS / f"{script}.py", SCRIPTS)


def code(script):
    """Digest of the code of a rule, reckoned where a job wants it: the process of one job needs no other rule's."""
    return lambda wildcards: digest_of_code(script)


def targets_of(sample):
    return f"{RESULTS}/{SURVEY_NAME}/{sample}/targets.parquet"


def plan_of(sample, settings, twins):
    """Shards of a sample, each with the digest of its rows and their number; its cleaned targets are written beside."""
    targets = {
        **settings["targets"],
        "catalogue": in_data(settings["targets"]["catalogue"]),
        "lens_clusters": list(map(in_data, settings["targets"]["lens_clusters"])),
    }
    classes = twin_classes(settings) if twins else ()
    return load_plan(
        targets,
        targets_of(sample),
        code_digest(SCRIPTS / "tandemlens/survey/plan.py", SCRIPTS),
        workflow.is_main_process,
        classes,
        SETTINGS["fetch"],
        SETTINGS["tandems"] if targets["tandems_only"] else None,
    )


SHARDS = {}
try:
    if SETTINGS["tandems"]["catalogue"]:
        behind = in_data(SETTINGS["tandems"]["catalogue"])
        SETTINGS["tandems"] = at_hand(
            {**SETTINGS["tandems"], "catalogue": behind}, SETTINGS["fetch"]
        )
    for name, settings in SETTINGS["samples"].items():
        SHARDS[name] = plan_of(name, settings, True)
        if PIXELS[name] == "injected":
            SHARDS[name + CANVAS] = plan_of(name + CANVAS, settings, False)
    searched = SETTINGS["samples"]["search"]["targets"]
    if searched["tandems_only"] and not SETTINGS["tandems"]["catalogue"]:
        # what lies behind a target that was kept is mostly no target itself
        behind = at_hand(
            {**searched, "catalogue": in_data(searched["catalogue"])}, SETTINGS["fetch"]
        )
        SETTINGS["tandems"] |= {
            key: behind[key] for key in ("catalogue", "columns", "format", "hdu")
        }
    for name, other in SETTINGS["crossmatch"]["catalogues"].items():
        SETTINGS["crossmatch"]["catalogues"][name] = at_hand(
            {**other, "catalogue": in_data(other["catalogue"])}, SETTINGS["fetch"]
        )
except TandemlensError as error:
    raise WorkflowError(str(error))


def samples_with(*pixels):
    """Names of the samples of these pixels as a pattern; one that matches nothing where there are none."""
    names = [name for name, kind in PIXELS.items() if kind in pixels]
    if "survey" in pixels:
        names += [name for name in SHARDS if name.endswith(CANVAS)]
    return "|".join(names) or "-"


def shard_rows(wildcards):
    return SHARDS[wildcards.sample][wildcards.shard].digest


def systems(wildcards, sample=None):
    """Number of systems that a job looks at: those of its shard, of a sample, or of the run."""
    if hasattr(wildcards, "shard"):
        # a rule of one sample alone is of the training sample
        name = getattr(wildcards, "sample", "train")
        return SHARDS[name][wildcards.shard].systems
    shards = [SHARDS.get(sample, {})] if sample else SHARDS.values()
    return sum(shard.systems for part in shards for shard in part.values())


def memory(megabytes, per_system=0, sample=None):
    """Memory of a job, MB, which grows with its systems and with every further try."""
    return lambda wildcards, attempt: attempt * round(
        megabytes + per_system * systems(wildcards, sample)
    )


def minutes(base, seconds_per_system=0, sample=None):
    """Time limit of a job, min, which grows with its systems and with every further try."""
    return lambda wildcards, attempt: attempt * round(
        base + seconds_per_system * systems(wildcards, sample) / 60
    )


def gpus(section, devices=1):
    """GPUs of a job whose settings say where it computes."""
    return 0 if SETTINGS[section].get("device", "cpu") == "cpu" else devices


def band_facts(*names):
    """The named facts of every band in use, in wavelength order; None for what a band does not say."""
    return {name: [SURVEY["bands"][band].get(name) for band in BANDS] for name in names}


def simulation(wildcards):
    """What decides the pixels of a simulated or injected sample."""
    simulate = used_settings(SETTINGS["samples"][wildcards.sample]["simulate"])
    if simulate["cosmos"]:
        simulate["cosmos"] = in_data(simulate["cosmos"])
    return {
        "survey": SURVEY,
        "bands": BANDS,
        "size_arcsec": SETTINGS["cutout"]["size_arcsec"],
        "seed": SETTINGS["seed"],
        "simulate": simulate,
        # what is painted is dimmed as its measurement is corrected
        "ebv_map": SETTINGS["measure"]["ebv_map"],
        **band_facts("extinction"),
    }


def cosmos_files(wildcards):
    """The files of the real galaxies that give lensed sources their shapes, as inputs."""
    folder = SETTINGS["samples"][wildcards.sample]["simulate"]["cosmos"]
    return sorted(map(str, Path(in_data(folder)).rglob("*.fits"))) if folder else []


def release_of(sample):
    return release_name(SURVEY["release"], PIXELS[sample])


def survey_files(wildcards):
    """Every file of the survey that lies in the data folder, as inputs of a fetch."""
    texts, waiting = set(), [
        SURVEY.get("defaults", {}),
        *(SURVEY["bands"][b] for b in BANDS),
    ]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            texts |= {
                v
                for k, v in value.items()
                if k in ("file", "head") and isinstance(v, str)
            }
            waiting += value.values()
    patterns = {text.replace("{band}", band) for text in texts for band in BANDS}
    return sorted(
        {str(p) for pattern in patterns for p in Path(DATA or ".").glob(pattern)}
    )


def per_shard(name, sample="search"):
    """A product of every shard of a sample; none of a sample that the run does not have."""
    return [
        f"{RESULTS}/{SURVEY_NAME}/{sample}/{shard}/{name}"
        for shard in sorted(SHARDS.get(sample, {}))
    ]


def of_other_run(folder, name, sample="train"):
    """A product of the shards of a sample that the results of another run have; none without such a run."""
    paths = [
        f"{folder}/{SURVEY_NAME}/{sample}/{shard}/{name}"
        for shard in sorted(SHARDS.get(sample, {}))
    ]
    return [path for path in paths if folder and Path(path).exists()]


def dust_of(wildcards):
    """E(B-V) from the dust service as an input, where it is asked: no map is at hand, and the sky is real."""
    measure, simulated = SETTINGS["measure"], PIXELS[wildcards.sample] == "simulated"
    if simulated or not measure["ebv_service"] or measure["ebv_map"]:
        return []
    return f"{RESULTS}/{SURVEY_NAME}/{wildcards.sample}/{wildcards.shard}/dust.parquet"


def asked(service):
    """What a service knows around the searched targets, where the settings ask for it."""
    return per_shard(f"{service}.parquet") if SETTINGS["crossmatch"][service] else []


def catalogue_settings():
    """What decides the catalogue besides its inputs; where files lie decides nothing."""
    known = SETTINGS["crossmatch"]
    return {
        "heads": [h.name for h in HEADS] + ["fused"] * FUSES,
        "bands": BANDS,
        "survey": SURVEY_NAME,
        "fdr": SETTINGS["fusion"]["fdr"],
        "tandems": without_path(SETTINGS["tandems"]),
        "crossmatch": {
            **{key: known[key] for key in ("radius_arcsec", "ned", "simbad")},
            "catalogues": {k: without_path(c) for k, c in known["catalogues"].items()},
        },
    }


def without_path(settings):
    return {key: value for key, value in settings.items() if key != "catalogue"}


def learns_from(head):
    """Inputs of the fit of a head: products of the run, and of every shard of a sample."""
    asked = [(s, p) for s, products in head.fit_on.items() for p in products]
    # targets of the search without label, which a head may give no share of its loss
    if SETTINGS[head.name].get("unlabelled_weight") == 0:
        asked = [(s, p) for s, p in asked if s != "search"]
    if sees_encoder(head):
        asked += [("train", "stamps")]
    run = {p: f"{RESULTS}/{RUN_PRODUCTS[p]}" for s, p in asked if s == "run"}
    for product, there in (("expected", CAN_EXPECT), ("grades", GRADE_FILES)):
        run |= {product: []} if product in run and not there else {}
    shards = {
        f"{s}_{p}": per_shard(SHARD_PRODUCTS[p], s)
        for s, p in asked
        if s in ("train", "search")
    }
    shards |= {
        f"graded_{p}": per_shard(SHARD_PRODUCTS[p]) if GRADE_FILES else []
        for s, p in asked
        if s == "graded"
    }
    # weights learnt without labels, where a head asks for them
    pretrained = SETTINGS[head.name].get("pretrained", False) or sees_encoder(head)
    encoder = {"encoder": f"{RESULTS}/models/encoder"} if pretrained else {}
    return {**run, **shards, **encoder, **synthetic_for(SETTINGS[head.name])}


def synthetic_for(settings):
    """Synthetic systems as inputs, where a head or a stage asks for them."""
    if not settings.get("synthetic", False):
        return {}
    files = {"table": "synthetic.parquet", "stamps": "synthetic.h5"}
    return {f"synthetic_{k}": per_shard(f, "train") for k, f in files.items()}


def sees_encoder(head):
    """Whether a head takes the features of the pretrained encoder instead of the feature table."""
    return SETTINGS[head.name].get("features") == "encoder"


def trained_models():
    """Folders of all that was trained over epochs, whose learning curves are shown."""
    models = [learns_from(head).get("encoder", "") for head in HEADS if LEARNS]
    models += [model_of(head.name) for head in HEADS if head.trained]
    return [path for path in dict.fromkeys(models) if path]


def fitted_heads():
    """Heads whose models this run makes; those from elsewhere have their cards there."""
    return [h for h in HEADS if LEARNS or not h.trained]


#: the models that this run makes: one a head, and that of the fusion
MODELS = [h.name for h in fitted_heads()] + ["fusion"] * LEARNS
UNFITTED = [name for name in MODELS if not Path(RESULTS, "models", name).is_dir()]
if UNFITTED and not SETTINGS["refit"]:
    raise WorkflowError(
        f"refit is false, and {RESULTS}/models/{UNFITTED[0]} does not exist; "
        "run once with refit true"
    )


def model_of(name):
    """Model of a head or of the fusion: of this run, or of the one that trained it."""
    own = name in [h.name for h in fitted_heads()] or not ELSEWHERE
    return f"{RESULTS if own else ELSEWHERE}/models/{name}"


def scores_by(head):
    """Inputs of the scoring of a shard by a head."""
    files = {p: f"{ROAD}/{{shard}}/{f}" for p, f in SHARD_PRODUCTS.items()}
    files["sequence"] = in_data(SETTINGS["features"]["sequence"])
    return {p: files[p] for p in (*head.score_on, *(["stamps"] * sees_encoder(head)))}


def head_tables(sample):
    """Scores of every head for every shard of a sample, by the name of the head."""
    return {h.name: per_shard(f"scores/{h.name}.parquet", sample) for h in HEADS}


def head_settings(head):
    more = {"bands": BANDS, "seed": SETTINGS["seed"]}
    if "sequence" in head.score_on:
        more |= band_facts("wavelength", "width", "filter")
    if "stamps" in head.score_on:
        more |= {"encoder": encoder_settings(), "views": SETTINGS["views"]}
    return {**SETTINGS[head.name], **more}


def with_file(settings):
    """Settings whose file, if they name one, lies where it is found."""
    return {**settings, "file": in_data(settings["file"]) if settings["file"] else ""}


def encoder_settings():
    return with_file(SETTINGS["encoder"])


def pretrain_settings():
    return {
        **SETTINGS["pretrain"],
        "galaxies": with_file(SETTINGS["pretrain"]["galaxies"]),
        "encoder": encoder_settings(),
        "views": SETTINGS["views"],
        "bands": BANDS,
        "radius_arcmin": SETTINGS["folds"]["radius_arcmin"],
        "softening": SETTINGS["stamps"]["softening"],
        "seed": SETTINGS["seed"],
    }


def pretrain_files():
    """Files that the pretraining starts from, as inputs."""
    weights = encoder_settings()
    galaxies = with_file(SETTINGS["pretrain"]["galaxies"])["file"]
    named = [weights["file"] if weights["weights"] == "file" else "", galaxies]
    return [path for path in named if path]


def painted_systems(sample):
    return per_shard("systems.parquet", sample) if sample in SIMULATED else []


def shown_heads():
    """Columns that the catalogue shows of every head, and of the fusion."""
    tables = {h.name: h.table for h in HEADS} | ({"fused": FUSED} if FUSES else {})
    return {name: [c.name for c in table[1:]] for name, table in tables.items()}


def card_heads():
    """What the cards say of every head, and of the fusion."""
    heads = {
        h.name: {
            "score": h.score,
            "kind": h.kind,
            "fused": h.fused,
            "learns": {sample: list(names) for sample, names in h.fit_on.items()},
            "settings": head_settings(h),
        }
        for h in fitted_heads()
    }
    if LEARNS:
        fusion = {k: v for k, v in SETTINGS["fusion"].items() if k != "fdr"}
        heads["fusion"] = {
            "score": "fused",
            "kind": "log_odds",
            "fused": True,
            "learns": {"train": ["systems", "measure", "scores of all heads"]},
            "settings": fusion,
        }
    return heads


def card_sample(name):
    """What the cards say of a sample beyond its tables."""
    settings = SETTINGS["samples"][name.removesuffix(CANVAS)]
    pixels = settings["pixels"] if name in PIXELS else "survey"
    return {
        "pixels": pixels,
        "release": release_name(SURVEY["release"], pixels),
        "catalogue": settings["targets"]["catalogue"],
        "simulate": (
            used_settings(settings["simulate"]) if name in SIMULATED else None
        ),
    }


def augment_settings(*sections):
    """What decides synthetic stamps."""
    more = {k: v for section in sections for k, v in section.items()}
    return {**SETTINGS["augment"], **more, "seed": SETTINGS["seed"]}


def contrast_inputs():
    """What stamps need to cancel the light of the lens."""
    if not SETTINGS["stamps"]["contrast"]:
        return {}
    return {
        "photometry": f"{ROAD}/{{shard}}/photometry.parquet",
        "sequence": in_data(SETTINGS["features"]["sequence"]),
        "young": [in_data(path) for path in SETTINGS["features"]["young"]],
    }


def simulated_shards(name):
    return [path for sample in SIMULATED for path in per_shard(name, sample)]


def known_shards(name):
    """A product of all systems of known answer, from which calibration cases of graders are drawn."""
    known = [sample for sample in SIMULATED if sample != "search"]
    return [path for sample in known for path in per_shard(name, sample)]


wildcard_constraints:
    shard=r"hp\d+_\d+",
    head=r"[a-z]+",
    sample=r"[a-z_]+",
