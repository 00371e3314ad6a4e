"""Measure how long others wait while a guest converts nearly all its memory.

A bare-metal guest (tests/guest/bounds.c) of 64 GiB or of 512 GiB, most of
which nobody has touched, asks for all of it to be converted by one hypercall:
whole, when alternate pages of a part are what it is to become, and when the
host has one page in use, at the end.  With two backings KVM has a word for
each page, and 512 GiB would take hours.  A smaller guest, all of whose memory
is pinned when it is shared, has a device by each interface of VFIO.

Counted are all instructions that the lab runs: for how long the lock of
memory's states was held, at most, and until QMP commands were answered.  The
lab has one processor, for which QMP competes with the guest, and with who
asks.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import subprocess
from collections import namedtuple

from .common import TOP, WAYS, compile_plugin, compile_static, in_lab, keep

# of L1, without and with one for the guest
DEVICES = (), ('--device', 'intel-iommu,intremap=on', '--device',
               'edu,dma_mask=0xffffffffff')

Guest = namedtuple('Guest', 'way mib page device')
GUESTS = (Guest('in place', 64 << 10, '4 KiB', 'none'),
          Guest('in place', 512 << 10, '4 KiB', 'none'),
          Guest('two backings', 64 << 10, '4 KiB', 'none'),
          *(Guest('in place', 256, page, device)
            for page in ('4 KiB', '2 MiB') for device in ('type1', 'iommufd')))
# of QMP, of which answers are awaited
COMMANDS = 'query-guest-memfd', 'query-status'
# 10 ms of a processor that runs 3 instructions in a nanosecond
TARGET = 30_000_000
# where Linux loads a program that can be loaded anywhere, if it always takes
# the same addresses
BASE = 0x555555554000


def addresses(*functions):
    """Return where QEMU's functions are."""
    lines = subprocess.run(['nm', TOP / 'build/qemu-system-x86_64'],
                           check=True, stdout=subprocess.PIPE,
                           text=True).stdout
    found = {words[-1]: int(words[0], 16)
             for words in map(str.split, lines.splitlines())
             if words[-1] in functions}
    return [found[each] + BASE for each in functions]


def run_guest(guest, library):
    """Return what was found with one kind of guest."""
    lock, unlock = addresses('ram_block_attributes_lock',
                             'ram_block_attributes_unlock')
    options = (*compile_plugin('count-instructions'),
               *compile_plugin('longest-hold', f'lock={lock:x}',
                               f'unlock={unlock:x}'))
    print(', '.join(map(str, guest)), flush=True)
    found = json.loads(in_lab(
        ('--memory', '4G', '--cpus', '1', *DEVICES[guest.device != 'none'],
         *WAYS[guest.way], *options),
        'bench/holds', library, *guest[1:]))
    return [{**guest._asdict(), **each} for each in found]


def millions(*figures):
    """Return figures as they are printed."""
    return ' / '.join(f'{figure / 1e6:.1f}' for figure in figures)


def report(rows):
    """Print the table; return whether all is within the target."""
    print(f'\n  Millions of instructions; target of the lock: <= '
          f'{TARGET / 1e6:.0f}\n\n  {"MiB":<8}{"":<14}{"pages":<7}'
          f'{"device":<9}{"conversion":<29}'
          f'{"in all":>9}{"lock, longest":>15}'
          f'{"map, median / longest":>23}{"status":>15}')
    for row in rows:
        # A short conversion may have but one answer.
        waits = [millions(each['median'], each['longest']) if each else '-'
                 for each in map(row['answers'].get, COMMANDS)]
        print(f'  {row["mib"]:<8}{row["way"]:<14}{row["page"]:<7}'
              f'{row["device"]:<9}{row["conversion"]:<29}'
              f'{millions(row["instructions"]):>9}'
              f'{millions(row["longest hold"]):>15}'
              f'{waits[0]:>23}{waits[1]:>15}')
    return all(0 < row['longest hold'] <= TARGET for row in rows)


def measure():
    """Measure; return whether the lock is held no longer than the target."""
    library = compile_static('ask-emulator.so', 'bench/ask-emulator.c',
                             flags=('-shared', '-fPIC'))
    rows = [row for guest in GUESTS for row in run_guest(guest, library)]
    keep('holds.json', json.dumps(rows).replace(', {"way', ',\n {"way'))
    return report(rows)
