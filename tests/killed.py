"""A process that is killed at a random moment of a training, with no chance to tidy up."""

import multiprocessing
import os
import random
import signal
import threading
import time


def kill_amid(work, folder, *given):
    """Run ``work(*given, progress)`` in a process that kills itself at a random moment after its second epoch.

    Returns the number of epochs that it had reported, and when it was killed, in words.
    """
    process = multiprocessing.get_context("spawn").Process(target=_doomed, args=(work, folder, given))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    told = (folder / "said").read_text().split()
    return int(told[-1]), f"killed {told[0]} s after its second epoch"


def _doomed(work, folder, given):
    said, last = folder / "said", [time.monotonic()]

    def progress(done, total):
        epoch, last[0] = time.monotonic() - last[0], time.monotonic()
        if done == 2:
            delay = random.uniform(0, 0.8 * (total - 2) * epoch)
            said.write_text(f"{delay:.3f}")
            threading.Timer(delay, _kill).start()
        if done >= 2:
            with said.open("a") as file:
                file.write(f" {done}")
        # epochs may be shorter than the one that was timed: it must not come to its end
        if done == total - 1:
            _kill()

    work(*given, progress)


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)
