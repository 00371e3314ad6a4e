"""A bare-metal guest of tests/guest that has private memory.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import mmap
import subprocess
import tempfile
from pathlib import Path

from .tap import expect, say
from .vm import TOP, VM, allocated

SOURCES = TOP / 'tests/guest'
FLAGS = ('-O2 -Wall -ffreestanding -fno-stack-protector -fno-pic -no-pie '
         '-mgeneral-regs-only -mno-red-zone -nostdlib -static '
         '-Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments').split()
PAGE = mmap.PAGESIZE
WORD = (1 << 64) - 1
CONFIDENTIAL = ('-object', 'sw-protected-guest,id=cg0',
                '-machine', 'confidential-guest-support=cg0')


@functools.cache
def firmware(name):
    """Compile a guest; return the file with it."""
    file = tempfile.NamedTemporaryFile()
    with tempfile.NamedTemporaryFile() as elf:
        subprocess.run(
            ['gcc', *FLAGS, f'-Wl,-T,{SOURCES}/guest.lds', '-o', elf.name,
             SOURCES / 'start.S', SOURCES / 'runtime.c',
             SOURCES / f'{name}.c'], check=True)
        subprocess.run(['objcopy', '-O', 'binary', elf.name, file.name],
                       check=True)
    return file


def pattern(gpa, seed):
    """Return the word that guests write to a page, as pattern() of theirs."""
    return ((gpa + 1) * (seed | 1) & WORD) ^ 0x9e3779b97f4a7c15


class BareGuest(VM):
    """A VM that runs one guest of tests/guest."""

    def __init__(self, name, *args, cpus=1):
        super().__init__(
            '-cpu', 'host', '-smp', str(cpus), '-bios', firmware(name).name,
            '-device', 'isa-debug-exit,iobase=0xf4', *CONFIDENTIAL, *args)
        self.socket = self.channel('console')
        self.console = self.socket.makefile('r', errors='replace')
        self.args += ['-serial', 'chardev:console']
        self.allocated = []

    def words(self, start, end):
        """Return the first word of each page, as the host has it."""
        with tempfile.NamedTemporaryFile() as file:
            self.cmd('pmemsave', val=start, size=end - start,
                     filename=file.name)
            data = Path(file.name).read_bytes()
        return [int.from_bytes(data[at:at + 8], 'little')
                for at in range(0, len(data), PAGE)]

    def answer(self, question):
        """Look at what a guest says of its memory, and agree to it."""
        what, *numbers = question.split()
        start, end, seed = (int(each, 16) for each in numbers)
        wanted = what == 'seen'
        for page, word in enumerate(self.words(start, end)):
            gpa = start + page * PAGE
            if (word == pattern(gpa, seed)) != wanted:
                raise AssertionError(f'page {gpa:#x} is not {what}: {word:#x}')
        self.allocated.append(allocated())
        self.socket.sendall(b'y')

    def run(self):
        """Let the guest run to its end, which must be a good one."""
        for line in self.console:
            line = line.rstrip()
            if line.startswith('host: '):
                self.answer(line[len('host: '):])
            else:
                say(f'L2: {line}')
        expect(self.process.wait(), 1)
