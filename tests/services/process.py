"""The test server, and a fetch, as processes of their own: one Python is not held up by the other."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from urllib.request import urlopen

from places import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'workflow/scripts'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


class ServerProcess:
    """A running server.

    Parameters
    ----------
    mirrors : dict
        Setting ``fetch.mirrors`` that sends every service to it.
    """

    def __init__(self, mirrors):
        self.mirrors = mirrors

    def state(self):
        """Questions so far, most answers at a time by host, faults by kind."""
        address = next(iter(self.mirrors.values())).rsplit("/", 1)[0]
        with urlopen(f"{address}/state") as answer:
            return json.load(answer)


@contextmanager
def running_server(**options):
    """A server in a process of its own; options are those of ``python -m skyserver``."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "skyserver", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as child:
        try:
            yield ServerProcess(json.loads(child.stdout.readline()))
        finally:
            child.stdin.close()


FETCH = """
import json, sys
import pandas as pd
from tandemlens.survey.services.legacy import Legacy
from tandemlens.survey.services.service import fetch_from

job = json.load(open(sys.argv[1]))
targets = pd.DataFrame(job["targets"])
fetch_from(Legacy, targets, job["cfg"], job["settings"], job["stack"], job["table"], lambda done, total: None)
"""


def start_fetch(job, folder):
    """Start a fetch from the Legacy Surveys; `job` holds targets (rows), cfg, settings, stack and table."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return subprocess.Popen([sys.executable, "-c", FETCH, str(path)], env=ENVIRONMENT)
