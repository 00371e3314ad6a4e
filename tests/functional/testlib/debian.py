"""A guest with Debian on its disk.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
import subprocess

from .bare import CONFIDENTIAL
from .compiled import TOP
from .guest import CPU, KERNEL, KERNEL_LINE, NO_CLOCK_CHECK
from .tap import say
from .vm import VM

IMAGE = TOP / 'build/lab/root.ext4'
QEMU_IMG = TOP / 'build/qemu/qemu-img'
# as Linux makes it on its command line: of 2 KiB each
BOUNCE_BUFFERS = 16 << 20
# by name: the device, and what Linux calls it
DISKS = {'virtio-blk': ('virtio-blk-pci', 'vda'),
         'nvme': ('nvme,serial=root', 'nvme0n1')}
# what no program prints; it tells how the last command ended
PROMPT = r'\[(\d+)\]\$ '
# systemd is not to write to the console, where commands print; what it has to
# say before there is a journal comes in lines of the kernel's
QUIET = 'systemd.show_status=0'
# its network comes up after somebody can log in: a default route
ONLINE = "until grep -q '^e[^ ]*[[:space:]]00000000' /proc/net/route; " \
    'do sleep 0.1; done'


class Debian(VM):
    """Debian with a disk and a network, and somebody at its console."""

    def __init__(self, directory, *args, disk='virtio-blk', image=IMAGE,
                 private=True):
        device, name = DISKS[disk]
        self.image = directory / 'root.qcow2'
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', '-F', 'raw',
                        '-b', image, self.image], check=True)
        super().__init__(
            *(CONFIDENTIAL if private else ()), '-cpu', CPU,
            '-kernel', str(KERNEL), '-append',
            f'console=ttyS0 loglevel=5 panic=-1 {NO_CLOCK_CHECK} '
            f'{QUIET} root=/dev/{name} rw swiotlb={BOUNCE_BUFFERS // 2048}',
            '-drive', f'if=none,id=root,format=qcow2,file={self.image}',
            '-device', f'{device},drive=root', '-netdev', 'user,id=net',
            '-device', 'virtio-net-pci,netdev=net', *args)
        self.socket = self.channel('console')
        self.args += ['-serial', 'chardev:console']
        self.line = ''

    def _read(self):
        """Return what the console prints next, and tell it by the line."""
        text = self.socket.recv(4096).decode(errors='replace')
        *lines, self.line = (self.line + text).split('\n')
        for line in lines:
            say(f'L2: {line.rstrip()}')
        return text

    def _read_until(self, pattern):
        """Read the console until a text; return it, and what is before."""
        text = ''
        while True:
            new = self._read()
            if not new:
                raise AssertionError('the guest ended before it answered')
            text += new
            found = re.search(pattern, text)
            if found:
                return found, text[:found.start()]

    def type(self, line):
        """Type a line."""
        self.socket.sendall(line.encode() + b'\n')

    def log_in(self):
        """Wait until somebody can log in, do that, and await the network."""
        self._read_until('login: ')
        self.type('root')
        self._read_until('# ')
        # a shell that adds nothing to its prompt, nor to what is typed
        self.type("stty -echo; PS1='[$?]$ ' exec sh")
        self._read_until(PROMPT)
        self.sh(ONLINE)

    def sh(self, command):
        """Run a shell command that must work; return what it prints."""
        self.type(command)
        found, text = self._read_until(PROMPT)
        if found[1] != '0':
            raise AssertionError(f'{command!r} ended with {found[1]}')
        return '\n'.join(line for line in text.replace('\r', '').split('\n')
                         if not KERNEL_LINE.match(line)).strip()

    def reboot(self):
        """Boot again, and log in."""
        self.type('systemctl reboot')
        self.log_in()

    def power_off(self):
        """Let the guest end QEMU."""
        self.type('systemctl poweroff')
        while self._read():
            pass
        self.await_end()
