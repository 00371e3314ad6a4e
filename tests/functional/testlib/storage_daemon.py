"""Another process that serves a disk.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import subprocess
from contextlib import contextmanager

from .compiled import TOP

DAEMON = TOP / 'build/qemu/storage-daemon/qemu-storage-daemon'


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
