"""Filters of warnings hold in a block and nowhere else, in threads too."""

import threading
import warnings

import pytest

from tandemlens.base.warning_filters import warning_filters


def test_ignore_goes_before_error():
    with warning_filters(error=Warning, ignore=(UserWarning, RuntimeWarning)):
        warnings.warn("unheard", UserWarning, stacklevel=1)
        with pytest.raises(DeprecationWarning):
            warnings.warn("heard", DeprecationWarning, stacklevel=1)


def test_a_block_waits_for_that_of_another_thread_and_leaves_its_filters():
    before = list(warnings.filters)
    inside, seen = threading.Event(), []

    def other():
        inside.wait()
        with warning_filters(ignore=UserWarning):
            seen.append(warnings.filters[1:])

    thread = threading.Thread(target=other)
    thread.start()
    with warning_filters(error=RuntimeWarning):
        inside.set()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    assert seen == [before]
    assert list(warnings.filters) == before
