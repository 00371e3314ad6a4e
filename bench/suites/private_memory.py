"""Measure what memory a guest takes that converts all of its memory.

A bare-metal guest (tests/guest/whole.c) of size S writes to all of its memory,
converts it to shared piece by piece, writes to it again, and then the same
back to private.  Meanwhile the lab's memory is looked at all the time.  What
counts is the peak of the guest's memory, wherever it is, and that of QEMU
itself.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json

from .common import WAYS, in_lab, keep

TARGET = 1.01
# In MiB, guest's and lab's.  What QEMU itself takes is 1 % of a smaller guest;
# of two backings, a larger one would take more than many machines have.
SIZES = {'in place': (4096, 6144), 'two backings': (1024, 3072)}


def row(way, size, guest):
    """Print the peaks of a guest; return whether they are within the target.
    """
    peaks = guest['peaks']
    both = peaks['guest and QEMU'] / 1024
    aimed = way == 'in place'
    what = guest['backend'].replace('memory-backend-', '')
    if guest.get('prealloc'):
        what += ', prealloc'
    print(f'  {way:<14}{guest["page"]:<7}{what:<18}{size:>6}'
          f'{peaks["guest"] / 1024:>8.1f}{peaks["QEMU"] / 1024:>7.1f}'
          f'{peaks["page tables"] / 1024:>8.1f}{both / size:>9.4f}'
          f'{f"   <= {TARGET}" if aimed else ""}')
    return not aimed or both <= TARGET * size


def report(found):
    """Keep all figures; return whether they are within the target."""
    keep('private-memory.json', json.dumps(found, indent=1))
    print('\n  Peaks, in MiB; the ratio is that of guest and QEMU to the '
          f'size\n\n  {"":<14}{"pages":<7}{"shared memory":<18}{"size":>6}'
          f'{"guest":>8}{"QEMU":>7}{"tables":>8}{"ratio":>9}   target')
    return all([row(way, session['size MiB'], guest)
                for way, session in found.items()
                for guest in session['guests']])


def measure():
    """Measure guests; return whether they are within the target."""
    return report({way: json.loads(in_lab(
        ('--memory', f'{SIZES[way][1]}M', *options), 'bench/private-memory',
        SIZES[way][0])) for way, options in WAYS.items()})
