"""Snakemake as it is, but that it asks SLURM after jobs every 2 s: the executor waits 10 s longer after each question.

A test has a small cluster of its own, which takes no harm.
"""

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)

if __name__ == "__main__":
    main()
