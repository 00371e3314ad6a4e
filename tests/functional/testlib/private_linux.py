"""Boot Linux with all of its memory private.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import tempfile
from pathlib import Path

from .bare import CONFIDENTIAL, in_place
from .guest import CPU, Guest
from .matrix import mode, pages_of
from .tap import check, expect, expect_between, say
from .vm import GUEST_MEMFD, main_ram

SIZE = 256
# MiB; with two backings what is loaded stays shared: kernel, initrd, tables
LOADED = 32
# what Linux shares for devices, though it has none: as little as it can, by
# swiotlb=, and pages for a few bytes each
BOUNCE_BUFFERS, OTHERS = 1 << 20, 2 << 20


def loaded():
    """Return how many bytes may be shared because QEMU has loaded them."""
    return 0 if in_place() else LOADED << 20


def expect_private(guest):
    """Expect all memory to be private, but what Linux shares for devices."""
    for info in guest.cmd('query-guest-memfd'):
        if info['id'] != 'ram0':
            expect_between(0, info['shared'], loaded())
            continue
        expect_between(BOUNCE_BUFFERS, info['shared'],
                       BOUNCE_BUFFERS + OTHERS + loaded())
        if in_place():
            # No more of them have shared parts than there are such parts.
            parts = sum(not each['private'] for each in guest.query_memory(
                'ram0', map=True)['map'])
            expect_between(
                info['size'] // info['page-size'] - parts -
                info['shared'] // info['page-size'], info['whole-pages'],
                info['size'] // info['page-size'])


def boot(machine, page):
    """Boot it, and again after a reset."""
    # A microvm has nothing by which Linux resets a PC.
    append = f'reboot=t swiotlb={BOUNCE_BUFFERS // 2048}'
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


class UnawareGuest(Guest):
    """Linux that does not know the type of guest that it is in."""

    def __init__(self, page, *args):
        super().__init__(*CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE,
                                                  **pages_of(page)), *args)
        # It looks for no leaf of KVM's.
        self.args += ['-cpu', f'{CPU},kvm=off']


def boot_unaware(page):
    """Without devices it keeps all private, as it has for long."""
    with check(f'a Linux that knows nothing of it, {mode()}, pages of {page}'):
        with UnawareGuest(page) as guest:
            guest.await_boot()
            guest.sh('seal /tmp/file 16 1 && sound /tmp/file')
            expect_between(0, guest.query_memory('ram0')['shared'],
                           loaded())
            guest.power_off()


def boot_unaware_with_disk(page):
    """It waits for its disk forever, but QEMU says why, once."""
    with check(f'the same with a disk: QEMU says once what is wrong, {mode()}'
               ), tempfile.TemporaryDirectory() as directory:
        said = Path(directory) / 'said'
        os.mkfifo(said)
        image = Path(directory) / 'disk'
        image.write_bytes(bytes(1 << 20))
        guest = UnawareGuest(page, '-drive', 'if=none,id=disk,format=raw,'
                             f'file={image}', '-device',
                             'virtio-blk-pci,drive=disk', '-trace',
                             'virtio_set_status', '-trace',
                             'ram_private_region')
        guest.wrapper = ('sh', '-c', f'exec "$@" 2>{said}', 'sh')
        # a reader, for which QEMU's end has not to wait
        reader = os.open(said, os.O_RDONLY | os.O_NONBLOCK)
        warnings = hints = accesses = 0
        again = False
        with open(reader, encoding='utf-8') as stream, guest:
            os.set_blocking(reader, True)
            for line in stream:
                say(line.rstrip())
                warnings += 'virtio-blk-pci accesses private memory' in line
                if hints and line.startswith('virtio_set_status'):
                    # So the reset begins; the first driver has this behind it.
                    again = again or line.endswith(' val 0\n')
                # What there is to be said of an access comes behind it.
                if again and line.startswith('ram_private_region'):
                    accesses += 1
                    if accesses == 2:
                        guest.quit()
                if line.startswith('The guest has to share'):
                    hints += 1
                    if hints == 1:
                        guest.cmd('set-action', reboot='reset')
                        guest.reset()
        expect((warnings, hints), (1, 1))
