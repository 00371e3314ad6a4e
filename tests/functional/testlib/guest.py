"""A small Linux guest that runs shell commands for a scenario.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import re
import sys
from pathlib import Path

from .compiled import TOP
from .files import file_with
from .tap import say
from .vm import VM

sys.path.append(str(TOP / 'lab'))

from initramfs import FILE, initramfs, member  # noqa: E402

KERNEL = TOP / 'build/lab/bzImage'
INIT = Path(__file__).parent / 'guest-init'

# In the emulator, timers that are set as a value of the TSC fire minutes late.
CPU = 'host,-tsc-deadline'

# Linux 7.3 checks the TSC while it boots, and may then wait forever: in
# watchdog_check_skew(), for a processor that waits for the one that checks,
# with a time limit in jiffies, which stand still.
NO_CLOCK_CHECK = 'tsc=reliable'

# The kernel writes to the console when it likes.
KERNEL_LINE = re.compile(r'\[ *\d+\.\d+\] ')


@functools.cache
def initrd(*programs):
    """Return the file with the guest's user space and more programs."""
    members = [member(number, f'bin/{path.name}', FILE, path.read_bytes())
               for number, path in enumerate(programs)]
    return file_with(b''.join([initramfs(INIT.read_text('utf-8')), *members,
                               member(0, 'TRAILER!!!', 0, b'')]))


class Guest(VM):
    """A VM with Linux in it."""

    def __init__(self, *args, append='', programs=()):
        super().__init__(
            '-cpu', CPU, '-no-reboot', '-kernel', str(KERNEL), '-initrd',
            initrd(*programs).name, '-append',
            f'console=ttyS0 loglevel=5 panic=-1 {NO_CLOCK_CHECK} {append}',
            *args)
        self.socket = self.channel('console')
        self.console = self.socket.makefile('r', errors='replace')
        self.args += ['-serial', 'chardev:console']

    def _read_until(self, pattern):
        """Read the console until a line matches."""
        lines = []
        for line in self.console:
            line = line.rstrip()
            say(f'L2: {line}')
            found = re.fullmatch(pattern, line)
            if found:
                return found, lines
            if not KERNEL_LINE.match(line):
                lines.append(line)
        raise AssertionError('the guest ended before it answered')

    def await_boot(self):
        """Wait until the guest takes commands."""
        self._read_until('guest: ready')

    def type(self, line):
        """Type a line, without waiting for what comes of it."""
        self.socket.sendall(line.encode() + b'\n')

    def sh(self, command):
        """Run a shell command that must work; return what it prints."""
        self.type(command)
        return self.await_status(command)

    def await_status(self, command='what was typed'):
        """Wait until a command ends, which must have worked."""
        found, lines = self._read_until(r'guest: status (\d+)')
        if found[1] != '0':
            raise AssertionError(f'{command!r} ended with {found[1]}')
        return '\n'.join(lines)

    def meminfo(self, field):
        """Return a field of the guest's /proc/meminfo, in KiB."""
        return int(self.sh(f'sed -n "s/^{field}: *//p" /proc/meminfo | '
                           'cut -d" " -f1'))

    def reboot(self):
        """Let the guest reset the machine, and boot again."""
        self.cmd('set-action', reboot='reset')
        self.type('reboot -f')
        self.await_boot()

    def power_off(self):
        """Let the guest end QEMU."""
        self.type('poweroff -f')
        self.await_end()
