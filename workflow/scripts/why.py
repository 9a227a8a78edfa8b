"""Say which file or setting makes each stage stale; ``make why [CONFIG=...] [DATA=...]`` runs this."""

import subprocess
import sys

from tandemlens.base.stale import stale_causes

if __name__ == "__main__":
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    causes, followers = stale_causes(done.stdout + done.stderr)
    if not causes and not followers:
        print("Nothing to rerun: every product is up to date.")
    for (rule, cause), n in causes.items():
        print(f"{rule} ({n} job{'s' * (n > 1)}): {cause}")
    if followers:
        print("and what follows: " + ", ".join(f"{rule} ({n})" for rule, n in followers.items()))
