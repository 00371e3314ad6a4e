"""Make a small initramfs: busybox and an init script.

As a program, it writes one with a shell to its standard output.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import sys
from pathlib import Path

BUSYBOX = Path('/bin/busybox')
SHELL = '''\
#!/bin/busybox sh
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec setsid cttyhack sh
'''
FILE, DIRECTORY = 0o100755, 0o040755


def member(number, name, mode, data):
    """Write one member of a cpio archive in the format "newc"."""
    path = name.encode() + b'\0'
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b'070701' + b''.join(b'%08x' % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initramfs(init):
    """Return an initramfs whose /init is the given busybox shell script."""
    members = [(name, DIRECTORY, b'')
               for name in ('bin', 'dev', 'proc', 'sys', 'tmp')]
    members += [('bin/busybox', FILE, BUSYBOX.read_bytes()),
                ('init', FILE, init.encode()),
                ('TRAILER!!!', 0, b'')]
    return b''.join(member(number, *each)
                    for number, each in enumerate(members))


if __name__ == '__main__':
    sys.stdout.buffer.write(initramfs(SHELL))
