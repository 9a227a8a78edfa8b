"""The RO-Crate validator without a network: the contexts that it would ask for are put into its cache."""

import io
import json
import warnings
from pathlib import Path

import requests
import rocrate
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from urllib3 import HTTPResponse

#: the library `rocrate` ships a later context, in which the terms of 1.1 mean the same but for these of Bioschemas
SHIPPED = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(encoding="utf-8"))["@context"]
OLD = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}
RUN = "https://w3id.org/ro/terms/workflow-run"
TERMS = ("ParameterConnection", "connection", "sourceParameter", "targetParameter", "sha256", "environment")
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": json.dumps({"@context": {**SHIPPED, **OLD}}),
    f"{RUN}/context": json.dumps({"@context": {term: f"{RUN}#{term}" for term in TERMS}}),
}
PROFILES = ("ro-crate-1.1", "process-run-crate", "workflow-ro-crate", "workflow-run-crate", "provenance-run-crate")


def issues(crate, profile, cache, severity=Severity.REQUIRED):
    """What the validator finds in the crate of a folder, list of str.

    Parameters
    ----------
    crate : Path
        Folder.
    profile : str
    cache : Path
        Where its cache may lie.
    severity : rocrate_validator.models.Severity
        Least weight of what is told.
    """
    with CachedSession(str(cache), backend="sqlite", expire_after=-1) as session:
        for url, text in CONTEXTS.items():
            session.cache.save_response(_answer(url, text))
    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        requirement_severity=severity,
        cache_path=str(cache),
        offline=True,
        skip_availability_check=True,
    )
    with warnings.catch_warnings():
        # the validator's own use of rdflib
        warnings.simplefilter("ignore", DeprecationWarning)
        found = services.validate(settings).get_issues(severity)
    return [f"{issue.check.identifier}: {issue.message} {issue.violatingEntity or ''}" for issue in found]


def _answer(url, text):
    out = requests.Response()
    out.status_code, out.url, out._content = 200, url, text.encode()
    out.headers["Content-Type"] = "application/ld+json"
    out.request = requests.Request("GET", url).prepare()
    out.raw = HTTPResponse(io.BytesIO(out._content), headers=dict(out.headers), status=200, preload_content=False)
    return out
