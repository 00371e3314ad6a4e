"""Launch guests of SEV-SNP and TDX on a KVM that only seems to have these.

QEMU is started with tests/kernel/record-launch.c, which records what KVM is
told.  The firmware is a guest of tests/guest, with the tables in which
firmware says what else is to be loaded.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import itertools
import struct
import tempfile
import uuid
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

from .bare import BareGuest
from .compiled import firmware
from .files import file_with
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, main_ram, preloaded, start_refused

PAGE = 4096
ROM_SIZE = 64 << 10
ROM = (4 << 30) - ROM_SIZE
# where nothing of the guest's own image is, see guest.lds
SEV_AT, TDX_AT = ROM_SIZE - 0x400, ROM_SIZE - 0x300
TABLE_END = ROM_SIZE - 32
RESET_VECTOR = 0xfffffff0

FOOTER = '96b582de-1fb2-45f7-baea-a366c55a082d'
SEV_METADATA = 'dc886566-984a-4798-a75e-5585a7bf67cc'
SEV_RESET = '00f771de-1a7e-4fcb-890e-68c77e2fb44e'
TDX_METADATA = 'e47a6535-984a-4798-865e-4685a7bf8ec2'

# what tests/guest/launched.c has as TABLE and COPY
SCRATCH, SCRATCH_SIZE = 2 << 20, 64 << 10
TABLE = SCRATCH + SCRATCH_SIZE
COPY = TABLE + PAGE
SECRETS, HASHES = COPY, COPY + PAGE

# types of pages: of the firmware's table, and of KVM's
SEC_MEM, SNP_SECRETS, SNP_CPUID, SNP_HASHES = 1, 2, 3, 0x10
NORMAL_PAGE, ZERO_PAGE, SECRETS_PAGE, CPUID_PAGE = 1, 3, 5, 6
BFV, CFV, TD_HOB, TEMP_MEM = range(4)
MEASURED = 1

OBJECTS = {'snp': 'sev-snp-guest,id=cg0,sev-device=/dev/null,cbitpos=0,'
                  'reduced-phys-bits=1',
           'tdx': 'tdx-guest,id=cg0'}
PRIVATE = 8

SNP_STEPS = ['KVM_SEV_INIT2', 'KVM_SEV_SNP_LAUNCH_START',
             'KVM_SEV_SNP_LAUNCH_UPDATE', 'KVM_SEV_SNP_LAUNCH_FINISH']
SNP_LOADS = [(ROM, ROM_SIZE, NORMAL_PAGE), (SCRATCH, SCRATCH_SIZE, ZERO_PAGE),
             (TABLE, PAGE, CPUID_PAGE), (SECRETS, PAGE, SECRETS_PAGE),
             (HASHES, PAGE, ZERO_PAGE)]
TDX_STEPS = ['KVM_TDX_CAPABILITIES', 'KVM_TDX_INIT_VM', 'KVM_TDX_GET_CPUID',
             'KVM_TDX_INIT_VCPU', 'KVM_TDX_INIT_MEM_REGION',
             'KVM_TDX_FINALIZE_VM']
TDX_LOADS = [(ROM, ROM_SIZE, MEASURED), (COPY, PAGE, 0),
             (SCRATCH, SCRATCH_SIZE, 0), (TABLE, PAGE, 0)]


def guid_entry(guid, data):
    """Return an entry of the table at the end of firmware."""
    size = len(data) + 2 + 16
    return data + struct.pack('<H', size) + uuid.UUID(guid).bytes_le


def sev_metadata():
    """Return what firmware tells of memory that SEV-SNP is to make valid."""
    sections = [(SCRATCH, SCRATCH_SIZE, SEC_MEM), (TABLE, PAGE, SNP_CPUID),
                (SECRETS, PAGE, SNP_SECRETS), (HASHES, PAGE, SNP_HASHES)]
    data = b''.join(struct.pack('<III', *each) for each in sections)
    return struct.pack('<4sIII', b'ASEV', 16 + len(data), 1,
                       len(sections)) + data


def tdx_metadata():
    """Return what firmware tells of memory that TDX is to add."""
    sections = [(0, ROM_SIZE, ROM, ROM_SIZE, BFV, MEASURED),
                (0, PAGE, COPY, PAGE, CFV, 0),
                (0, 0, SCRATCH, SCRATCH_SIZE, TEMP_MEM, 0),
                (0, 0, TABLE, PAGE, TD_HOB, 0)]
    data = b''.join(struct.pack('<IIQQII', *each) for each in sections)
    return struct.pack('<4sIII', b'TDVF', 16 + len(data), 1,
                       len(sections)) + data


def put(image, at, data):
    """Write to an image, where nothing may be yet."""
    expect(image[at:at + len(data)], bytes(len(data)))
    image[at:at + len(data)] = data


@functools.cache
def launch_firmware(name='launched', *flags):
    """Compile a guest, and add the tables; return the file with it."""
    image = bytearray(Path(firmware(name, *flags).path).read_bytes())
    expect(len(image), ROM_SIZE)
    put(image, SEV_AT, sev_metadata())
    put(image, TDX_AT, tdx_metadata())
    table = b''.join(guid_entry(guid, struct.pack('<I', value))
                     for guid, value in ((SEV_METADATA, ROM_SIZE - SEV_AT),
                                         (SEV_RESET, RESET_VECTOR),
                                         (TDX_METADATA, ROM_SIZE - TDX_AT)))
    table = guid_entry(FOOTER, table)
    put(image, TABLE_END - len(table), table)
    return file_with(image)


@contextmanager
def recorded(*more, **variables):
    """Let QEMU see the other KVM; give the file that has the record."""
    with tempfile.NamedTemporaryFile() as file, \
            preloaded('record-launch', *more, LAUNCH_RECORD=file.name,
                      **variables):
        yield Path(file.name)


def launch_args(kind, image=None):
    """Return the arguments of a machine that launches a guest."""
    return ['-cpu', 'host', '-bios', (image or launch_firmware()).name,
            '-object', OBJECTS[kind],
            '-machine', 'q35,confidential-guest-support=cg0']


class LaunchedGuest(BareGuest):
    """A guest that runs launched.c; what it found is in its list loaded."""

    confidential = ()

    def __init__(self, kind):
        # of two values of -bios, the last counts
        super().__init__('launched', *launch_args(kind),
                         *main_ram(GUEST_MEMFD, 64))
        self.loaded = []

    def answer(self, question):
        """Keep what was loaded."""
        what, *numbers = question.split()
        if what != 'loaded':
            super().answer(question)
            return
        self.loaded = [int(each, 16) for each in numbers]
        self.agree()


def launch_refused(kind, memory, image=None, more=(), **variables):
    """Launch a guest that fails at that; return what QEMU says."""
    with recorded(**variables):
        return start_refused(*launch_args(kind, image), *main_ram(memory, 64),
                             *more)


class Call:
    """A line of the record: a name, and arguments as attributes."""

    def __init__(self, line):
        self.name, *words = line.split()
        for word in words:
            key, value = word.split('=')
            setattr(self, key, int(value, 0))


def parse(record):
    """Return the calls of a record."""
    return [Call(line) for line in record.read_text('utf-8').splitlines()]


def steps(calls):
    """Return the names of the launch's own calls, each once in a row."""
    names = [call.name for call in calls
             if call.name.startswith(('KVM_SEV_', 'KVM_TDX_'))]
    return [name for name, _ in itertools.groupby(names)]


def loads(calls):
    """Return the calls that load memory."""
    return [call for call in calls if call.name in (
        'KVM_SEV_SNP_LAUNCH_UPDATE', 'KVM_TDX_INIT_MEM_REGION')]


def whole_loads(calls):
    """Return of what is loaded address, size, and what KVM is told of it.

    Calls that go on with what one has left are not looked at.
    """
    wanted, ends = [], None
    for call in loads(calls):
        if call.gpa + call.size != ends:
            wanted.append((call.gpa, call.size, getattr(
                call, 'type', getattr(call, 'flags', None))))
        ends = call.gpa + call.size
    return wanted


def before_loads(calls):
    """Return the calls before the first that loads memory."""
    return calls[:calls.index(loads(calls)[0])]


def pages(start, size):
    """Return the addresses of pages."""
    return set(range(start, start + size, PAGE))


def shared_in_place(calls):
    """Count the pages of memslots, by file, that were not made private."""
    slots, private = defaultdict(set), defaultdict(set)
    for call in calls:
        if call.name == 'KVM_SET_USER_MEMORY_REGION2':
            slots[call.fd] |= pages(call.offset, call.size)
        elif call.name == 'KVM_SET_MEMORY_ATTRIBUTES2' and not call.ret:
            expect(call.attributes, PRIVATE)
            private[call.fd] |= pages(call.offset, call.size)
    if not slots:
        raise AssertionError('there is no memory')
    return {fd: len(left - private[fd]) for fd, left in slots.items()
            if left - private[fd]}


def check_order(name, calls, wanted_steps, wanted_loads):
    """Look at what KVM is told of a launch."""
    with check(f'{name}: the calls of a launch, in order'):
        expect(steps(calls), wanted_steps)
    with check(f'{name}: what is loaded'):
        expect(whole_loads(calls), wanted_loads)


def check_cpuid(memory):
    """Values of CPUID that firmware corrects end a launch."""
    with check('values of CPUID that the firmware corrects'):
        said = launch_refused('snp', memory, CORRECT_CPUID='1')
        expect_in('SEV-SNP: CPUID validation failed for function 0x40000000, '
                  'index: 0x0, provided: eax:0x40000001, ', said)
        expect(said.count('CPUID validation failed'), 1)
