"""Convert memory under a QEMU with sanitizers.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from . import stress, vm
from .compiled import TOP
from .matrix import fill_pool
from .tap import check, expect, expect_in, say

# where our code stands; QEMU's own has races of which it is told, too
OURS = '/system/ram-', '/guest-memfd', 'map-gpa-range.c', 'ram-block-'
SEEDS = [1, 2]


def run(program, conversions, where):
    """Run a guest of which each processor has its memory, and one of which
    all have the same; the first argument may say how many conversions.
    """
    fill_pool('2 MiB', 64)
    vm.QEMU = TOP / f'build/{program}/qemu-system-x86_64'
    # Sanitizers keep what was freed, and books of memory and locks.
    for growth in stress.GROWTH, stress.RandomGuest.growth:
        growth.update({'QEMU': 2048, 'mappings': 2048})
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    stress.run_stress(numbers[0] if numbers else conversions, '2 MiB', where)
    stress.run_seeds(SEEDS, '2 MiB', where)


def run_for_addresses():
    """Look for bad accesses and undefined behaviour, and for leaks."""
    os.environ['UBSAN_OPTIONS'] = 'halt_on_error=1'
    run('asan', 20000, ', sanitizers')


def is_ours(report):
    """Return whether a report is about memory that our code accesses.

    It may do so by a function of QEMU's or of a library.
    """
    return any(re.search('#[0-2] ', line) and
               any(name in line for name in OURS)
               for line in report.splitlines())


def expect_no_race(directory):
    """Look at what was reported."""
    text = ''.join(each.read_text() for each in directory.iterdir())
    expect_in('Running under ThreadSanitizer', text)
    reports = text.split('WARNING: ThreadSanitizer: ')[1:]
    ours = [each for each in reports if is_ours(each)]
    say(f'{len(reports)} reports, {len(ours)} of them on our code')
    expect(''.join(ours), '')


def run_for_threads():
    """Look for races."""
    with tempfile.TemporaryDirectory() as name:
        os.environ['TSAN_OPTIONS'] = (f'log_path={name}/log exitcode=0 '
                                      'verbosity=1')
        run('tsan', 2000, ', ThreadSanitizer')
        with check('ThreadSanitizer has found no race'):
            expect_no_race(Path(name))
