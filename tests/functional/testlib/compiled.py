"""Compile what scenarios run: guests, programs, and what is preloaded.

The emulator takes seconds for each, so scripts/build-tests compiles what it
knows of beforehand.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
BUILT = TOP / 'build/tests'
GUEST, KERNEL = TOP / 'tests/guest', TOP / 'tests/kernel'
BARE = ('-O2 -Wall -ffreestanding -fno-stack-protector -fno-pic -no-pie '
        '-mgeneral-regs-only -mno-red-zone -nostdlib -static '
        '-Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments').split()

GUESTS = [path.stem for path in sorted(GUEST.glob('*.c'))
          if path.stem != 'pvh']
# guests that scenarios want with macros
ENTRIES = [('-m32', '-DPADDING=4'), ('-m32', '-DPADDING=8'),
           ('-m64', '-DPADDING=4'), ('-m64', '-DPADDING=8')]
# the second where directboot has the start info
LOW_KERNELS = 0x30000, 0x10000
REFUSED_ENTRIES = [('-m32', '-DPADDING=4', '-DMULTIBOOT'),
                   ('-m64', '-DPADDING=4', '-DMULTIBOOT'),
                   ('-m64', '-DPADDING=4', '-DNO_ENTRY')]
VARIANTS = [('assigned', '-DPARTED=1'), ('assigned', '-DCONVERSIONS=1000'),
            ('assigned-plugged', '-DPARTED=1'), ('conversion', '-DEVERY=3'),
            ('implicit', '-DLOST=1'), ('implicit', '-DCONVERTS=0'),
            ('implicit', '-DWAITS=100'), ('implicit', '-DFULL=1'),
            ('pinned', '-DERROR=-ENOMEM'),
            ('refused', '-DTIMES=1000'), ('refused', '-DTIMES=125000'),
            ('reset', '-DRESETS=1', '-DHOLD'), ('reset', '-DRESETS=3'),
            ('reset', '-DRESETS=5'), ('reset', '-DRESETS=10'),
            ('reset', '-DRESETS=50'),
            ('reset', '-DRESETS=2', '-DHOW=BY_PANIC'),
            ('reset', '-DRESETS=3', '-DHOW=BY_WATCHDOG'),
            ('stress', '-DCONVERSIONS=4000'),
            ('stress', '-DCONVERSIONS=20000'),
            ('stress', '-DCONVERSIONS=50000'), ('large', '-DHOLD'),
            ('disk', '-DOTHERS=1'),
            ('virtio', '-DLOST=1'), ('walked', '-DREFUSED')]
PROGRAMS = {
    'emulator': ('emulator', 'emulator-guest', 'tap', 'vm'),
    'find-text': ('find-text',),
    'gmem-conversion': ('gmem-conversion/*', 'child', 'files', 'memory', 'pin',
                        'race', 'tap', 'vm'),
    'gmem-huge': ('gmem-huge/*', 'child', 'files', 'memory', 'pin', 'pool',
                  'race', 'tap', 'vm'),
    'gmem-move': ('gmem-move/*', 'files', 'memory', 'pin', 'race', 'tap',
                  'vm'),
    'kexec': ('kexec',),
}
PRELOADED = ['check-dirty-log', 'fault-exits', 'inject-faults',
             'library-thread', 'older-kvm', 'record-launch', 'refuse-memslot']


@functools.cache
def scratch():
    """Return a directory for what is not compiled beforehand."""
    return tempfile.TemporaryDirectory()


@functools.cache
def last_change(directory):
    """Return when something was last changed in sources, or in this file."""
    return max(path.stat().st_mtime
               for path in [Path(__file__), *directory.rglob('*')])


def run(*command):
    """Run a command that must work."""
    subprocess.run([str(word) for word in command], check=True)


class Compiled:
    """A file that is compiled when it is first wanted, or beforehand."""

    def __init__(self, name, directory, *command):
        self.name = name
        self.directory = directory
        self.command = command

    def make(self, path):
        """Compile it."""
        run('gcc', *self.command, '-o', path)

    def is_built(self):
        """Return whether it is there, and newer than all it could be of."""
        built = BUILT / self.name
        return (built.exists() and
                built.stat().st_mtime > last_change(self.directory))

    def build(self):
        """Compile it beforehand."""
        if not self.is_built():
            BUILT.mkdir(parents=True, exist_ok=True)
            self.make(BUILT / self.name)

    @property
    def path(self):
        """Where it is, in words of a command line."""
        if self.is_built():
            return str(BUILT / self.name)
        path = Path(scratch().name) / self.name
        if not path.exists():
            self.make(path)
        return str(path)


class Firmware(Compiled):
    """A guest, as an image without a header."""

    def make(self, path):
        """Compile it."""
        elf = path.with_suffix('.elf')
        super().make(elf)
        run('objcopy', '-O', 'binary', elf, path)
        elf.unlink()


@functools.cache
def firmware(name, *flags):
    """Return a guest that is firmware itself."""
    return Firmware(''.join([name, *flags]), GUEST, *BARE, *flags,
                    f'-I{GUEST}', f'-Wl,-T,{GUEST}/guest.lds',
                    GUEST / 'start.S', *sorted(GUEST.glob('runtime/*.c')),
                    GUEST / f'{name}.c')


def elf_kernel(name, *words, script='pvh.lds'):
    """Return a guest that is an ELF kernel."""
    flags = [flag for flag in BARE if flag != '-mno-red-zone']
    return Compiled(name, GUEST, *flags, f'-Wl,-T,{GUEST}/{script}', *words)


@functools.cache
def pvh_kernel():
    """Return a kernel that is started by its PVH entry, and looks around."""
    return elf_kernel('pvh', '-m32', GUEST / 'pvh-start.S', GUEST / 'pvh.c')


@functools.cache
def entry_kernel(*flags):
    """Return a kernel that looks at no more than the state it starts in."""
    return elf_kernel(''.join(['entry', *flags]), *flags, GUEST / 'entry.S')


@functools.cache
def low_kernel(address):
    """Return one of which a part is below 1 MiB, at an address."""
    return elf_kernel(f'low-{address:x}', '-m32', '-DPADDING=4', '-DLOW',
                      f'-Wl,--defsym,low={address:#x}', GUEST / 'entry.S',
                      script='pvh-low.lds')


@functools.cache
def entry_linux():
    """Return a bzImage that does so."""
    return Firmware('entry-linux', GUEST, *BARE, '-DLINUX',
                    '-Wl,--section-start=.setup=0,-Ttext=0xa00,--entry=0',
                    GUEST / 'entry.S')


@functools.cache
def program(name):
    """Return a program for the lab, or for a Linux guest in it."""
    sources = [path for stem in PROGRAMS[name]
               for path in sorted(KERNEL.glob(f'{stem}.c'))]
    return Compiled(name, KERNEL, '-O2', '-Wall', '-static', '-pthread',
                    f'-I{KERNEL}', *sources)


@functools.cache
def preload(name):
    """Return a library for LD_PRELOAD."""
    return Compiled(f'{name}.so', KERNEL, '-shared', '-fPIC', '-O2', '-Wall',
                    KERNEL / f'{name}.c')


def everything():
    """Return all that is worth to be compiled beforehand."""
    return [*(firmware(name) for name in GUESTS),
            *(firmware(*variant) for variant in VARIANTS), pvh_kernel(),
            *(entry_kernel(*flags) for flags in [*ENTRIES, *REFUSED_ENTRIES]),
            entry_linux(), *(low_kernel(each) for each in LOW_KERNELS),
            *(program(name) for name in PROGRAMS),
            *(preload(name) for name in PRELOADED)]
