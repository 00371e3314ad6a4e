"""A bare-metal guest with a virtio device, and who serves that.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import subprocess
from contextlib import contextmanager

from .bare import BareGuest, pattern
from .compiled import TOP

DAEMON = TOP / 'build/qemu/storage-daemon/qemu-storage-daemon'
# as virtio.c has them
SECTORS, SECTOR, SEED = 8, 512, 0x33


@contextmanager
def daemon(disk, socket):
    """Serve a file as a disk; give the number of the process."""
    with subprocess.Popen(
            [DAEMON, '--blockdev', f'file,node-name=disk,filename={disk}',
             '--export', 'vhost-user-blk,id=export,node-name=disk,'
             f'writable=on,addr.type=unix,addr.path={socket}',
             '--daemonize', '--pidfile', f'{socket}.pid']) as process:
        if process.wait():
            raise AssertionError('the storage daemon did not start')
    with open(f'{socket}.pid', encoding='utf-8') as file:
        pid = int(file.read())
    try:
        yield pid
    finally:
        os.kill(pid, 15)


def write_disk(path):
    """Write the disk that the guest reads."""
    with open(path, 'wb') as file:
        for sector in range(SECTORS):
            file.write(pattern(sector, SEED).to_bytes(SECTOR, 'little'))


class VirtioGuest(BareGuest):
    """A guest that counts what its device has done."""

    def __init__(self, *args, flags=()):
        super().__init__('virtio', *args, flags=flags)

    def answer(self, question):
        """Look at what was done, when the guest says so."""
        what, number = question.split()
        assert what == 'done', question
        self.look(int(number, 16))
        self.agree()

    def look(self, count):
        """Look whether the device has done so much."""
