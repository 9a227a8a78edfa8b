"""The run as one Workflow Run RO-Crate (Leo et al. 2024, PLoS ONE 19, e0309210): files, jobs, code and software."""

import json
import mimetypes
import re
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.dataset import Dataset
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from tandemlens.base.atomic import sha256 as sha256_of
from tandemlens.base.atomic import write_text
from tandemlens.base.errors import InputError
from tandemlens.base.lineage import trace_back
from tandemlens.base.sidecar import code_version, digest_of_files

if TYPE_CHECKING:
    from rocrate.model.entity import Entity

    from tandemlens.base.lineage import Lineage, Places

#: a larger run tells shards as wholes: what every file of them is stands in its own sidecar
_MOST_FILES = 20_000
_PROFILES = {
    f"https://w3id.org/ro/wfrun/{name}/0.5": f"{name.capitalize()} Run Crate"
    for name in ("process", "workflow", "provenance")
}
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
_FORMATS = {".parquet": "application/vnd.apache.parquet", ".h5": "application/x-hdf5", ".fits": "application/fits"}
_FORMATS |= {".vot": "application/x-votable+xml", ".md": "text/markdown", ".safetensors": "application/octet-stream"}
#: what the code of a run is, within the project
_CODE = ("Snakefile", "workflow", "envs", "LICENSE")


def copy_code(root: str | Path, out_path: str | Path) -> None:
    """Copy the workflow beside the products that it made.

    Parameters
    ----------
    root : str or Path
        Of the project.
    out_path : str or Path
        Folder that is made.
    """
    for name in _CODE:
        source, copy = Path(root) / name, Path(out_path) / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def write_crate(
    ends: Sequence[str],
    places: "Places",
    code_path: str,
    out_path: str,
    cfg: dict[str, Any],
    most_files: int = _MOST_FILES,
) -> None:
    """Roll the sidecars of a run up into one RO-Crate.

    Parameters
    ----------
    ends : sequence of str
        Products that the run is for; all that they were made from is taken along.
    places : tandemlens.base.lineage.Places
    code_path : str
        Copy of the workflow (`copy_code`), within the results.
    out_path : str
        ro-crate-metadata.json, which lies in the folder of the results.
    cfg : dict
        ``survey``; ``title``, ``creators`` and ``licence``, each None or empty where the settings do not say.
    most_files : int
        With more products, the files of a shard are told as one data set.

    Raises
    ------
    InputError
        If a sidecar is missing or spoiled.
    """
    lineage = trace_back(ends, places, siblings=True)
    if lineage.problems:
        raise InputError(f"the crate cannot be made: {next(iter(lineage.problems.values()))}")
    made = sum(facts is not None for facts in lineage.facts.values())
    crate = _Crate(lineage, places, cfg, made > most_files)
    write_text(out_path, json.dumps(crate.describe(ends, code_path), indent=1, ensure_ascii=False))


class _Crate:
    """A crate in the making.

    Parameters
    ----------
    lineage, places, cfg
        As of `write_crate`.
    by_shard : bool
    """

    def __init__(self, lineage: "Lineage", places: "Places", cfg: dict[str, Any], by_shard: bool) -> None:
        self._lineage, self._places, self._cfg, self._by_shard = lineage, places, cfg, by_shard
        self._shard = re.compile(rf"{re.escape(places.results)}/{re.escape(cfg['survey'])}/(\w+)/(hp\d+_\d+)/")
        self._crate = ROCrate(version="1.1")
        self._crate.metadata.extra_contexts.append(_TERMS)
        #: path -> entity that stands for it in the actions
        self._entities: dict[str, Entity] = {}

    def describe(self, ends: Sequence[str], code_path: str) -> dict[str, Any]:
        """The crate as JSON-LD, dict."""
        agents = [self._add(f"#creator-{k}", "Person", name=name) for k, name in enumerate(self._cfg["creators"])]
        self._shards()
        for path, facts in self._lineage.facts.items():
            if path not in self._entities:
                self._entities[path] = self._product(path, facts) if facts else self._given(path)
        workflow = self._workflow(code_path)
        actions = [self._action(rule, name, made, agents) for rule, name, made in self._jobs()]
        tools = {a["instrument"].id: a["instrument"] for a in actions}
        workflow["hasPart"] = list(tools.values())
        run = self._run(workflow, ends, agents, actions)
        root = self._crate.root_dataset
        root["mentions"] = [run, *actions]
        root["mainEntity"] = workflow
        self._describe_root(root, run, agents)
        made = self._crate.metadata.generate()
        return {**made, "@graph": [_compact(entity) for entity in made["@graph"]]}

    def _add(self, key: str, kind: str, **properties: Any) -> "Entity":
        return self._crate.add(ContextEntity(self._crate, key, properties={"@type": kind, **properties}))

    def _shards(self) -> None:
        """Data sets that stand for the shards of a large run, and for all shards of a sample."""
        if not self._by_shard:
            return
        files: dict[str, dict[str, dict[str, str]]] = {}
        for path, facts in self._lineage.facts.items():
            found = self._shard.match(path)
            if found and facts:
                files.setdefault(found[1], {}).setdefault(found[2], {})[path] = self._lineage.digests[path]
        for sample, shards in files.items():
            place = f"{self._cfg['survey']}/{sample}/"
            parts = [self._one_shard(place, shard, paths) for shard, paths in shards.items()]
            whole = self._data_set(place, f"shards of the sample {sample}", hasPart=parts)
            self._entities |= {path: whole for paths in shards.values() for path in paths}

    def _one_shard(self, place: str, shard: str, paths: dict[str, str]) -> "Entity":
        within = {path.split(f"/{shard}/", 1)[1]: digest for path, digest in paths.items()}
        told = f"{len(paths)} products; each has a sidecar *.prov.json with its digest"
        return self._data_set(f"{place}{shard}/", f"shard {shard}", description=told, sha256=digest_of_files(within))

    def _product(self, path: str, facts: dict[str, Any]) -> "Entity":
        name = str(Path(path).relative_to(self._places.results))
        told = f"made by rule {facts['rule']}"
        if "files" not in facts:
            return self._file(name, path, facts["sha256"], description=told)
        parts = [self._file(f"{name}/{n}", f"{path}/{n}", digest) for n, digest in facts["files"].items()]
        return self._data_set(f"{name}/", name, description=told, sha256=facts["sha256"], hasPart=parts)

    def _file(self, key: str, path: str, digest: str, **properties: Any) -> "Entity":
        suffix = Path(key).suffix
        known = _FORMATS.get(suffix) or mimetypes.guess_type(key)[0] or "application/octet-stream"
        properties = {"name": key, "sha256": digest, "encodingFormat": known, **properties}
        if Path(path).is_file():
            properties["contentSize"] = str(Path(path).stat().st_size)
        return self._crate.add(File(self._crate, dest_path=key, properties=properties))

    def _data_set(self, key: str, name: str, **properties: Any) -> "Entity":
        return self._crate.add(Dataset(self._crate, dest_path=key, properties={"name": name, **properties}))

    def _given(self, path: str) -> "Entity":
        """A file that lies outside the crate, named by its digest (RFC 6920)."""
        digest = self._lineage.digests[path]
        told = {"name": Path(path).name if Path(path).is_absolute() else path, "sha256": digest}
        answer = Path(f"{path}.json")
        if answer.is_file():
            facts = json.loads(answer.read_text(encoding="utf-8"))
            told |= {"description": f"answer of {facts['url']} to {json.dumps(facts['key'])}, {facts['fetched']}"}
        text = urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
        key = f"ni:///sha-256;{text}"
        return self._crate.dereference(key) or self._add(key, "CreativeWork", **told)

    def _workflow(self, code_path: str) -> "Entity":
        language = self._add(
            _SNAKEMAKE,
            "ComputerLanguage",
            name="Snakemake",
            identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            url={"@id": "https://snakemake.github.io"},
        )
        name = str(Path(code_path).relative_to(self._places.results) / "Snakefile")
        commits = {f["commit"]["id"] for f in self._lineage.facts.values() if f and f["commit"]["id"]}
        workflow = {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "tandemlens",
            "description": "The workflow that made this run, as it was when the crate was written",
            "version": ", ".join(sorted(commits)) or "unknown",
            "programmingLanguage": language,
        }
        path = f"{code_path}/Snakefile"
        return self._file(name, path, sha256_of(path), **workflow)

    def _jobs(self) -> Iterator[tuple[str, str, dict[str, dict[str, Any]]]]:
        """Rule, name, and sidecars of the products of every job; of all jobs of a rule and sample in a large run."""
        jobs: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
        for path, facts in self._lineage.facts.items():
            if facts:
                found = self._by_shard and self._shard.match(path)
                key = (facts["rule"], *(found.groups()[:1] if found else sorted(facts["outputs"])))
                jobs.setdefault(key, {})[path] = facts
        for rule, *rest in jobs:
            made = jobs[rule, *rest]
            wildcards = next(iter(made.values()))["wildcards"]
            yield rule, " ".join([rule, *(rest if len(made) > 1 and self._by_shard else wildcards.values())]), made

    def _action(self, rule: str, name: str, made: dict[str, dict[str, Any]], agents: "list[Entity]") -> "Entity":
        facts = list(made.values())
        tool = self._tool(rule, facts)
        result = self._named(made)
        given = self._named({path for one in facts for path in one["inputs"]})
        given = [entity for key, entity in given.items() if key not in result] + self._settings(facts)
        number = sha256("\n".join(sorted(made)).encode()).hexdigest()[:16]
        return self._act(f"#{rule}-{number}", name, facts, agents, tool, given, list(result.values()))

    def _act(
        self,
        key: str,
        name: str,
        facts: list[dict[str, Any]],
        agents: "list[Entity]",
        instrument: "Entity",
        given: "list[Entity]",
        result: "list[Entity]",
    ) -> "Entity":
        start = min(f["started"] for f in facts)
        end = max(datetime.fromisoformat(f["started"]) + timedelta(seconds=f["seconds"]) for f in facts)
        machines = sorted({f"{f['device']} of {f['host_class']}" for f in facts})
        more = {"agent": agents} if agents else {}
        return self._add(
            key,
            "CreateAction",
            name=name,
            description=f"on {', '.join(machines)}",
            startTime=start,
            endTime=end.isoformat(timespec="seconds"),
            actionStatus="http://schema.org/CompletedActionStatus",
            instrument=instrument,
            object=given,
            result=result,
            **more,
        )

    def _tool(self, rule: str, facts: list[dict[str, Any]]) -> "Entity":
        version = ", ".join(sorted({code_version(f["code"]) for f in facts}))
        key = f"#tool-{rule}-{version.replace(', ', '-')}"
        known = self._crate.dereference(key)
        if known:
            return known
        software = {json.dumps({"python": f["python"], **f["versions"]}, sort_keys=True) for f in facts}
        return self._add(
            key,
            "SoftwareApplication",
            name=rule,
            description=f"script of rule {rule} and the library modules that it imports; the version is their digest",
            softwareVersion=version,
            softwareRequirements=[self._software(text) for text in sorted(software)],
        )

    def _software(self, text: str) -> "Entity":
        key = f"#software-{sha256(text.encode()).hexdigest()[:16]}"
        named = ", ".join(f"{name} {version}" for name, version in json.loads(text).items())
        return self._crate.dereference(key) or self._add(key, "SoftwareApplication", name=named, softwareVersion=text)

    def _settings(self, facts: list[dict[str, Any]]) -> "list[Entity]":
        out = {}
        for text in {json.dumps(f["settings"], sort_keys=True) for f in facts if f["settings"]}:
            key = f"#settings-{sha256(text.encode()).hexdigest()[:16]}"
            rule = facts[0]["rule"]
            known = self._crate.dereference(key)
            out[key] = known or self._add(key, "PropertyValue", name=f"settings of rule {rule}", value=text)
        return list(out.values())

    def _named(self, paths: Iterable[str]) -> "dict[str, Entity]":
        entities = (self._entities[path] for path in sorted(paths) if path in self._entities)
        return {entity.id: entity for entity in entities}

    def _run(
        self, workflow: "Entity", ends: Sequence[str], agents: "list[Entity]", actions: "list[Entity]"
    ) -> "Entity":
        facts = [f for f in self._lineage.facts.values() if f]
        given = self._named({path for path, f in self._lineage.facts.items() if not f})
        result = self._named(ends)
        return self._act("#run", "the whole run", facts, agents, workflow, list(given.values()), list(result.values()))

    def _describe_root(self, root: "Entity", run: "Entity", agents: "list[Entity]") -> None:
        root["name"] = self._cfg["title"] or f"tandemlens: a search for cluster-cluster lenses in {self._cfg['survey']}"
        root["description"] = (
            "Ranked catalogue of candidate cluster-cluster gravitational lenses with everything it was made from. "
            "Each product has a sidecar *.prov.json: its digest, the job, its inputs, settings, code and software."
        )
        root["datePublished"] = run["endTime"]
        licence = self._cfg["licence"] or "not stated: ask those who made the run"
        is_url = licence.startswith(("http://", "https://"))
        root["license"] = self._add(licence, "CreativeWork", name=licence) if is_url else licence
        if agents:
            root["author"] = agents
        names = {**_PROFILES, _WORKFLOW_CRATE: "Workflow RO-Crate"}
        root["conformsTo"] = [
            self._add(key, "CreativeWork", name=name, version=key.rpartition("/")[2]) for key, name in names.items()
        ]
        about = self._crate.metadata
        about["conformsTo"] = [{"@id": about.profile}, {"@id": _WORKFLOW_CRATE}]


def _compact(entity: dict[str, Any]) -> dict[str, Any]:
    """A list of one thing is that thing, as RO-Crate recommends."""
    return {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in entity.items()}
