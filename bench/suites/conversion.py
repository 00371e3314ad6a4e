"""Measure conversions by a program that does nothing else.

Memory is converted between private and shared in place, and from one backing
to another as kernels without conversion in place have it.  Which of them a
kernel does is chosen when it boots, so two labs take turns, with several
rounds in each.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import time
from statistics import median

from .common import SHARED_CODE, WAYS, compile_static, in_lab, keep, size

TURNS, ROUNDS_A_TURN = 3, 5
KIND = ('range KiB', 'to', 'allocated', 'page KiB')
COUNTS = {'calls': 6, 'pages allocated': 8, 'pages freed': 8}


def by_kind(sessions, way):
    """Return the samples of one way to convert, by kind of conversion."""
    kinds = {}
    for session in sessions:
        if session['way'] == way:
            for sample in session['samples']:
                kind = tuple(sample[name] for name in KIND)
                kinds.setdefault(kind, []).append(sample)
    return kinds


def typical(samples, what):
    """Return the median of what one conversion takes."""
    return median(sample[what] / sample['conversions'] for sample in samples)


def tables(sessions):
    """Print the medians of both ways."""
    ours, others = (by_kind(sessions, way) for way in WAYS)
    times, counts = [], []
    for (length, to, allocated, page), samples in ours.items():
        # The stock kernel's guest_memfd has small pages only.
        both = samples, others[length, to, allocated, 4]
        what = (f'  {size(length):<8}{to:<9}{"yes" if allocated else "no":<7}'
                f'{size(page):<6}')
        a, b = (typical(each, 'ns') for each in both)
        times.append(f'{what}{a:>12.0f}{a * 4 / length:>9.0f}{b:>12.0f}'
                     f'{b * 4 / length:>9.0f}{a / b:>8.3f}')
        counts.append(what + ''.join(
            f'{round(typical(each, name), 2):>{width}g}'
            for each in both for name, width in COUNTS.items()))
    what = f'  {"range":<8}{"becomes":<9}{"alloc":<7}{"pages":<6}'
    ways = f'{"":32}{"in place":>21}{"two backings":>21}\n{what}'
    print(f'\n  Nanoseconds of a conversion, and of 4 KiB of it; medians of '
          f'{TURNS * ROUNDS_A_TURN}.\n  Times are those of an emulator: only '
          f'ratios mean something; target <= 1.\n',
          ways + f'{"each":>12}{"4 KiB":>9}' * 2 + f'{"ratio":>8}',
          *times, sep='\n')
    print('\n  System calls of a conversion, and pages that the kernel '
          'allocates and frees.\n',
          ways + f'{"calls":>6}{"alloc":>8}{"free":>8}' * 2,
          *counts, sep='\n')


def measure():
    """Measure conversions."""
    program = compile_static('convert-memory', 'bench/convert-memory.c',
                             *SHARED_CODE)
    sessions = []
    turns = [*WAYS.items()] * TURNS
    began = time.monotonic()
    for number, (way, options) in enumerate(turns, 1):
        print(f'turn {number} of {len(turns)}, {way}, after '
              f'{time.monotonic() - began:.0f} s', flush=True)
        head, *samples = map(json.loads, in_lab(
            ('--memory', '2G', *options), program, way,
            ROUNDS_A_TURN).splitlines())
        sessions.append({'way': way, **head, 'samples': samples})
    # A line for each sample.
    keep('conversion.json', json.dumps(sessions).replace(', {', ',\n {'))
    tables(sessions)
    return True
