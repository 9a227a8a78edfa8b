import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from tandemlens.base.config import load_schema, load_survey, validate_settings
from tandemlens.base.digest import code_digest
from tandemlens.base.errors import TandemlensError
from tandemlens.survey.plan import load_plan

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
except TandemlensError as error:
    raise WorkflowError(str(error))

RESULTS = SETTINGS["results"]
DATA = SETTINGS["data"]
BANDS = SETTINGS["samples"]["search"]["bands"] or list(SURVEY["bands"])
SAMPLE = "search"
ROAD = f"{RESULTS}/{SURVEY_NAME}/{SAMPLE}"
TARGETS = f"{ROAD}/targets.parquet"


def in_data(path):
    """A path of the settings: as it is where it exists, else below the data folder."""
    return str(Path(DATA) / path) if DATA and not Path(path).exists() else str(path)


def code(script):
    return code_digest(SCRIPTS / f"{script}.py", SCRIPTS)


def plan_settings():
    targets = dict(SETTINGS["samples"][SAMPLE]["targets"])
    return {**targets, "catalogue": in_data(targets["catalogue"])}


try:
    unknown = [band for band in BANDS if band not in SURVEY["bands"]]
    if unknown:
        raise TandemlensError(
            f"config.samples.search.bands: {unknown} are not bands of survey {SURVEY_NAME}; it has {', '.join(SURVEY['bands'])}"
        )
    SHARDS = load_plan(
        plan_settings(), TARGETS, code("targets"), workflow.is_main_process
    )
except TandemlensError as error:
    raise WorkflowError(str(error))


def band_facts(*names):
    """The named facts of every band in use, in wavelength order."""
    return {name: [SURVEY["bands"][band][name] for band in BANDS] for name in names}


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


def per_shard(name):
    return expand(f"{ROAD}/{{shard}}/{name}", shard=sorted(SHARDS))


wildcard_constraints:
    shard=r"hp\d+_\d+",
    head=r"[a-z]+",
