"""Print the results of a scenario as TAP.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import faulthandler
import os
import sys
import time
import traceback
from contextlib import contextmanager

RESULTS = []
# whether to run what a line "# full:" at the scenario's begin says
FULL = '--full' in sys.argv


def say(text):
    """Print something that is not a result."""
    print('# ' + str(text).replace('\n', '\n# '), flush=True)


def report(passed, what, skipped=None):
    """Print a result, or why there is none."""
    RESULTS.append(passed)
    print(f'{"ok" if passed else "not ok"} {len(RESULTS)} - {what}'
          f'{f" # SKIP {skipped}" if skipped else ""}', flush=True)


@contextmanager
def check(what):
    """Make a block one test: it passes unless it raises."""
    began = time.monotonic()
    try:
        yield
        passed = True
    except Exception:
        say(traceback.format_exc().rstrip())
        passed = False
    report(passed, what)
    say(f'{time.monotonic() - began:.1f} s')


def tell_what_is_awaited():
    """Have a scenario that hangs say where, before the lab's time is up."""
    limit = os.environ.get('LAB_TIMEOUT')
    if limit:
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        faulthandler.dump_traceback_later(max(1, int(limit) - since_boot - 15))


def run(scenario):
    """Run a scenario; an exception between its checks leaves no plan."""
    tell_what_is_awaited()
    scenario()
    print(f'1..{len(RESULTS)}')
    sys.exit(0 if all(RESULTS) else 1)


def expect(got, wanted):
    """Fail unless two things are equal."""
    if got != wanted:
        raise AssertionError(f'got {got!r}, wanted {wanted!r}')


def expect_in(part, whole):
    """Fail unless a text is in another."""
    if part not in whole:
        raise AssertionError(f'no {part!r} in {whole!r}')


def expect_between(low, got, high):
    """Fail unless a number is in a range."""
    if not low <= got <= high:
        raise AssertionError(f'{got} is not in {low} to {high}')
