"""Boot Linux with all of its memory private.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
from pathlib import Path

from .bare import CONFIDENTIAL, in_place
from .guest import Guest
from .matrix import mode, pages_of
from .tap import check, expect, expect_between
from .vm import GUEST_MEMFD, main_ram

SIZE = 256
# MiB; with two backings what is loaded stays shared: kernel, initrd, tables
LOADED = 32


def expect_private(guest):
    """Expect all memory to be private, and in place all pages to be whole."""
    for info in guest.cmd('query-guest-memfd'):
        if in_place():
            expect((info['shared'], info['whole-pages'] * info['page-size']),
                   (0, info['size']))
        else:
            expect_between(0, info['shared'], LOADED << 20)


def tsc_khz():
    """Return the frequency of this machine's TSC."""
    text = Path('/proc/cpuinfo').read_text('utf-8')
    mhz = re.search(r'^cpu MHz\s*: (.*)$', text, re.M)[1]
    return int(float(mhz) * 1000)


def boot(machine, page):
    """Boot it, and again after a reset."""
    append = ''
    if machine == 'microvm':
        # It has nothing to measure the TSC by.
        append = f'tsc_early_khz={tsc_khz()}'
    with Guest(*CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE, machine,
                                        **pages_of(page)),
               '-smp', '2', append=append) as guest:
        with check(f'{machine}, {mode()}, pages of {page}'):
            guest.await_boot()
            expect(guest.sh('nproc'), '2')
            expect_private(guest)
        with check('memory is sound'):
            guest.sh('seal /tmp/file 16 1 && sound /tmp/file')
        with check('and again after a reset'):
            guest.reboot()
            guest.sh('[ ! -e /tmp/file ]')
            expect_private(guest)
        with check('and powers off'):
            guest.power_off()
