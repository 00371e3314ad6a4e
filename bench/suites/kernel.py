"""Count what the kernel's guest_memfd takes, before and after a change to it.

usage: BEFORE=COMMIT scripts/bench kernel

The same program (bench/kernel-costs.c) runs on the lab kernel, and on that of
an earlier commit, by default the last one with the first queue for huge pages,
in turns.  What counts is the instructions that the emulator runs: a round
differs from the next by what interrupts it.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import os
import subprocess
from statistics import median

from .common import (SHARED_CODE, TOP, WAYS, compile_plugin, compile_static,
                     in_lab, keep, run)

ROUNDS = 3
BEFORE = os.environ.get('BEFORE', '4305fe1')
CHECKOUT = TOP / 'build/before'
OPTIONS = ('--memory', '8G', '--cpus', '1', *WAYS['in place'], '--append',
           'hugepagesz=1G hugepages=1 clearcpuid=erms '
           'hugetlb_free_vmemmap=on')
# 10 ms of a processor that runs 3 instructions in a nanosecond
LONGEST_HOLD = 30_000_000
WAYS_TO = 'to shared', 'to private'

# what is measured; the most it may be, as a number, or as a factor and what
# it is compared with, where None is the same before
GOALS = [
    *((f'4 KiB of a 2 MiB page, again, {to}', 1.5,
       f'4 KiB of 4 KiB pages, again, {to}') for to in WAYS_TO),
    *((f'4 KiB of a 2 MiB page, first, {to}', 0.25, None) for to in WAYS_TO),
    *((f'4 KiB of a 1 GiB page, {when}, {to}', 2,
       f'4 KiB of a 2 MiB page, {when}, {to}')
      for when in ('first', 'again') for to in WAYS_TO),
    ('64 MiB of 2 MiB pages, to private', 1 / 3, None),
    *((f'64 MiB of {of}, {how}', LONGEST_HOLD, '')
      for of in ('4 KiB pages', '2 MiB pages', 'a 1 GiB page')
      for how in (*WAYS_TO, 'alternate, to private')),
    ('page structures of 64 MiB, whole, in pages', 0, ''),
    ('page structures of 64 MiB, one page shared, in pages', 7, ''),
    ('guest fault, 4 KiB', 1.1, 'guest fault, 4 KiB, anonymous'),
    ('guest fault, 2 MiB', 1.1, 'guest fault, 2 MiB, anonymous'),
    ('host faults of 64 MiB, 2 MiB pages', 32, ''),
    ('host faults of 1 GiB, 1 GiB page', 1, ''),
    ('close, each 2 MiB', 1.2, 'close, each 2 MiB, hugetlbfs'),
]


def kernel_before():
    """Return the lab kernel of the earlier commit."""
    if not CHECKOUT.exists():
        run('git', 'worktree', 'prune')
        run('git', 'worktree', 'add', '-q', '--detach', CHECKOUT, BEFORE)
    subprocess.run(['git', 'checkout', '-q', BEFORE], cwd=CHECKOUT, check=True)
    run(CHECKOUT / 'scripts/build-kernel')
    return CHECKOUT / 'build/lab/bzImage'


def samples(kernel, program):
    """Return what was found on a kernel, by what was measured."""
    found = {}
    for line in in_lab((*OPTIONS, '--kernel', kernel,
                        *compile_plugin('count-instructions')),
                       program, ROUNDS).splitlines():
        each = json.loads(line)
        found.setdefault(each['what'], []).append(each['value'])
    return found


def row(figures, what, most, than):
    """Print one line of the table; return whether the goal is met."""
    before, now = (figures[when][what] for when in ('before', 'now'))
    base = {'': 1, None: before}.get(than, figures['now'].get(than))
    ratio = now / base if than != '' and base else None
    met = now <= most * base
    goal = f'{most:g}' if than == '' else f'{most:.2f} x {base:.0f}'
    print(f'  {what:<55}{before:>12.0f}{now:>12.0f}'
          f'{f"{ratio:.2f}" if ratio is not None else "":>8}'
          f'   <= {goal}{"" if met else "  MISSED"}')
    return met


def report(found):
    """Print the medians; return whether the goals are met."""
    figures = {when: {what: median(values) for what, values in each.items()}
               for when, each in found.items()}
    print(f'\n  Instructions, or what is named; medians\n\n  {"":<55}'
          f'{"before":>12}{"now":>12}{"ratio":>8}   goal')
    return all([row(figures, *goal) for goal in GOALS])


def measure():
    """Measure; return whether the goals are met."""
    program = compile_static('kernel-costs', 'bench/kernel-costs.c',
                             *SHARED_CODE)
    found = {'before': samples(kernel_before(), program),
             'now': samples(TOP / 'build/lab/bzImage', program)}
    keep('kernel.json', json.dumps(found, indent=1))
    return report(found)
