"""Measure guests on this backend and on memory-backend-memfd.

They take turns in one run.  What counts is the instructions that the emulator
runs for each, those of the lab's kernel and QEMU included: times differ from
round to round by more than the target allows.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
from statistics import median

from .common import compile_plugin, compile_static, in_lab, keep

ROUNDS = 7
TARGET = 1.02
OURS, OTHER = 'memory-backend-guest-memfd', 'memory-backend-memfd'


def row(what, ours, other):
    """Print one line of the table; return whether it is within the target."""
    ratio = median(ours) / median(other) if any(other) else 1
    aimed = what.endswith('instructions')
    print(f'  {what:<34}{median(ours):>12.6g}{median(other):>12.6g}'
          f'{ratio:>9.4f}{f"   <= {TARGET}" if aimed else ""}')
    return not aimed or ratio <= TARGET


def table(rounds):
    """Print the medians; return whether they are within the target."""
    print(f'\n  {"median of " + str(ROUNDS):<34}{"guest_memfd":>12}'
          f'{"memfd":>12}{"ratio":>9}   target')
    return all([row(what, [each[what] for each in rounds[OURS]],
                    [each[what] for each in rounds[OTHER]])
                for what in rounds[OURS][0]])


def measure():
    """Measure guests; return whether they are within the target."""
    touch = compile_static('touch-memory', 'bench/touch-memory.c')
    count = compile_static('instructions-run', 'bench/instructions-run.c')
    figures = json.loads(in_lab(compile_plugin('count-instructions'),
                                'bench/compare', ROUNDS, count, touch))
    keep('shared.json', json.dumps(figures, indent=1))
    return table(figures['rounds'])
