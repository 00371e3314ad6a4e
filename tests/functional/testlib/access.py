"""Look how QEMU meets private memory, on each path that it accesses it by.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import re
import signal
import socket
import struct
import tempfile
from contextlib import contextmanager
from errno import ENOMEM
from pathlib import Path

from .bare import CONFIDENTIAL, PAGE, BareGuest, in_place, negative
from .faults import faults, faults_of
from .matrix import mode, pages_of, run_guest
from .outcomes import CONVERSION, expect_outcome
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, VM, main_ram, preloaded

SIZE = 64
# of a machine that has not run; no image is there
AT = 16 << 20
SIGBUS = 1 << 6
# how the note begins that tests/guest/devices.c gives
NOTE = struct.pack('<3I', 11, 8, 0) + b'VMCOREINFO\0'


class DevicesGuest(BareGuest):
    """A guest that gives the host a note to put into dumps."""

    def answer(self, question):
        """Make a dump; see how often the note is in it."""
        what, *numbers = question.split()
        if what != 'dump':
            super().answer(question)
            return
        with tempfile.NamedTemporaryFile() as file:
            self.cmd('dump-guest-memory', paging=False,
                     protocol=f'file:{file.name}')
            expect(file.read().count(NOTE), int(numbers[0], 16))
        # Each of these accesses asked whether it may, before it had a pointer.
        expect(self.stand_ins(), 0)
        self.agree()


def run_devices(page):
    """Run the guest that points devices at its private memory."""
    with check(f'devices, {mode()}, pages of {page}'), DevicesGuest(
            'devices', *main_ram(GUEST_MEMFD, SIZE, **pages_of(page)),
            '-device', 'edu', '-netdev', 'hubport,id=net,hubid=0', '-device',
            'rtl8139,netdev=net', '-device', 'tulip', '-device', 'ramfb',
            '-device', 'vmcoreinfo') as each:
        each.run()


def run_iommu():
    """Run the guest that hides the tables of its IOMMU."""
    memory = main_ram(GUEST_MEMFD, SIZE, **pages_of('2 MiB'))
    run_guest('translated',
              args=[*memory, '-device', 'intel-iommu', '-device', 'edu'])


class DiskGuest(BareGuest):
    """A guest whose requests to a disk the host can hold up."""

    def throttle(self, speed):
        """Let the disk do so many bytes a second, or any number."""
        expect(self.hmp(f'block_set_io_throttle disk {speed} 0 0 0 0 0'), '')

    def await_taken(self, count):
        """Wait until QEMU has taken so many requests from the queue."""
        device = self.cmd('x-query-virtio')[0]['path']
        while self.cmd('x-query-virtio-queue-status', path=device,
                       queue=0)['last-avail-idx'] != count:
            pass

    def answer(self, question):
        """Hold requests up, or look how they ended."""
        what, *numbers = question.split()
        if what == 'taken':
            self.await_taken(int(numbers[0], 16))
        elif question == 'hold':
            # the first passes, the second would wait for minutes
            self.throttle(1)
        elif question == 'release':
            self.throttle(0)
        elif question in ('failed', 'done'):
            # In place, it failed or met zeros.
            if in_place() and question == 'done' and not self.stand_ins():
                raise AssertionError('a request used private memory')
        else:
            super().answer(question)
            return
        self.agree()


def run_disk(page, where, device='', extra=(), **options):
    """Run the guest that gives a disk private memory."""
    with check(f'disk, {mode()}, pages of {page}, {where}'), \
            tempfile.NamedTemporaryFile() as file:
        file.truncate(1 << 20)
        words = [f'if=none,id=disk,format=raw,file={file.name}']
        words += [f'{key}={value}' for key, value in options.items()]
        with DiskGuest('disk', *main_ram(GUEST_MEMFD, SIZE, **pages_of(page)),
                       '-drive', ','.join(words), *extra, '-device',
                       f'virtio-blk-pci,drive=disk,id=disk{device}') as each:
            each.run()


def run_disks():
    """Try each way in which QEMU accesses a disk's file, and its threads."""
    run_disk('2 MiB', 'threads')
    for how in 'threads', 'native', 'io_uring':
        run_disk('4 KiB', f'{how}, no cache', aio=how, cache='none')
    run_disk('4 KiB', 'an I/O thread', ',iothread=io',
             ('-object', 'iothread,id=io'))


class GdbStub:
    """A debugger."""

    def __init__(self, connection):
        self.connection = connection

    def ask(self, packet):
        """Send a packet; return the answer."""
        total = sum(packet.encode()) & 0xff
        self.connection.sendall(f'${packet}#{total:02x}'.encode())
        text = ''
        while not re.search(r'\$(.*)#..', text):
            text += self.connection.recv(4096).decode()
        self.connection.sendall(b'+')
        return re.search(r'\$(.*)#..', text)[1]


class Qtest:
    """QEMU's protocol for tests."""

    def __init__(self, connection):
        self.connection = connection
        self.lines = connection.makefile('r')

    def ask(self, line):
        """Send a line; return the answer."""
        self.connection.sendall(f'{line}\n'.encode())
        return self.lines.readline().strip()


@contextmanager
def tools():
    """Give a machine that has not run, its debugger and its qtest."""
    vm = VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE))
    gdb, qtest = vm.channel('gdb'), vm.channel('qtest')
    vm.args += ['-gdb', 'chardev:gdb', '-qtest', 'chardev:qtest',
                '-qtest-log', 'none']
    with vm:
        yield vm, GdbStub(gdb), Qtest(qtest)


def run_debugger(gdb):
    """A debugger gets errors."""
    with check(f'gdb: to read private memory, {mode()}'):
        expect(gdb.ask(f'm{AT:x},8'), 'E14')
    with check(f'gdb: to write to private memory, {mode()}'):
        expect(gdb.ask(f'M{AT:x},1:cc'), 'E14')
    with check(f'gdb: a breakpoint in private memory, {mode()}'):
        expect(gdb.ask(f'Z0,{AT:x},1'), 'E22')


def run_qtest(qtest):
    """Tests get zeros."""
    with check(f'qtest: private memory, {mode()}'):
        for size in 1, 8, PAGE, 16 * PAGE + 5:
            expect(qtest.ask(f'write {AT:#x} {size:#x} 0x{"a5" * size}'), 'OK')
            expect(qtest.ask(f'read {AT:#x} {size:#x}'), f'OK 0x{"00" * size}')
        for size in 'b', 'w', 'l', 'q':
            expect(qtest.ask(f'write{size} {AT:#x} 0x5a'), 'OK')
            expect(int(qtest.ask(f'read{size} {AT:#x}').split()[1], 0), 0)


def run_monitor(vm):
    """The monitor says what it cannot read."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / 'file'
        with check(f'monitor: xp and x, {mode()}'):
            for command in 'xp', 'x':
                expect_in('Cannot access memory', vm.hmp(f'{command} {AT:#x}'))
        with check(f'monitor: pmemsave and memsave, {mode()}'):
            for command in 'pmemsave', 'memsave':
                vm.refusal(command, val=AT, size=PAGE, filename=str(file))
        with check(f'monitor: a dump without memory, {mode()}'):
            file.unlink()
            reply = vm.qmp('dump-guest-memory', paging=False,
                           protocol=f'file:{file}', begin=AT, length=PAGE)
            expect_in('no guest memory to dump', reply['error']['desc'])
            expect(file.exists(), False)


def run_tools():
    """Look at private memory as people do who debug a guest."""
    with tools() as (vm, gdb, qtest):
        run_debugger(gdb)
        run_qtest(qtest)
        run_monitor(vm)


class LibraryGuest(BareGuest):
    """A guest whose private memory a library's thread accesses by pointer."""

    def __init__(self, *args, **options):
        super().__init__('walked', *args, **options)
        self.thread, theirs = socket.socketpair()
        self.channels.append(theirs)
        os.environ['LIBRARY_SOCKET'] = str(theirs.fileno())

    def check_masks(self):
        """No thread keeps SIGBUS from coming, which would end QEMU."""
        for task in Path(f'/proc/{self.pid}/task').iterdir():
            status = (task / 'status').read_text('utf-8')
            blocked = int(re.search(r'^SigBlk:\s+(\S+)', status, re.M)[1], 16)
            # KVM has threads, too, that never leave the kernel
            name = re.search(r'^Name:\s+(\S+)', status)[1]
            if blocked & SIGBUS and not name.startswith('kvm-nx-lpage'):
                raise AssertionError(f'thread {name} blocks SIGBUS')

    def read(self):
        """Let the thread read the page."""
        host = self.host_address(AT)
        self.thread.sendall(struct.pack('=Q', host))
        word, = struct.unpack('=Q', self.thread.recv(8))
        expect(word, 0)
        expect(self.stand_ins(), int(in_place()))

    def answer(self, question):
        """Let the thread read the page, when asked to."""
        if question.split()[0] != 'walk':
            super().answer(question)
            return
        self.check_masks()
        self.read()
        self.agree()


def run_library_thread(page):
    """A thread that QEMU did not start reads private memory."""
    with check(f'a thread of a library, {mode()}, pages of {page}'):
        with preloaded('library-thread'), \
                LibraryGuest(*main_ram(GUEST_MEMFD, SIZE,
                                       **pages_of(page))) as each:
            each.run()


class RefusedGuest(LibraryGuest):
    """A guest that shares what QEMU has accessed, while calls fail."""

    def __init__(self, control):
        super().__init__(*main_ram(GUEST_MEMFD, SIZE, dump='off',
                                   policy='bind', **{'host-nodes': 0}),
                         flags=('-DREFUSED',))
        self.control = control
        # what is to fail, once it is known
        self.left = None
        self.now = None

    def answer(self, question):
        """Let the page be read, and something fail when it is shared."""
        what, *words = question.split()
        if what == 'answer':
            self.compare(negative(words[0]))
        elif what == 'walk':
            self.read()
            self.control.calls()
            self.now = self.left.pop() if self.left else None
            if self.now:
                self.control.give(self.now)
            self.agree(bool(self.now))
        else:
            super().answer(question)

    def compare(self, ret):
        """See what came of it."""
        self.control.clear()
        if self.now:
            expect_outcome(self.now, CONVERSION,
                           os.strerror(-ret) if ret else None)
        else:
            expect(ret, 0)
            self.left = faults_of(self.control.calls())
        self.agree()


def run_refused_mapping():
    """Memory that QEMU cannot map does not become shared."""
    with check('shared memory that QEMU cannot map'):
        with faults('library-thread') as control, \
                RefusedGuest(control) as each:
            each.run()
            expect(each.left, [])


class LostGuest(LibraryGuest):
    """A guest that QEMU has nothing to put in the place of."""

    def __init__(self, control):
        super().__init__(*main_ram(GUEST_MEMFD, SIZE))
        self.control = control

    def answer(self, _question):
        """Let the thread read the page, which ends QEMU."""
        self.control.order('mmap of zeros', ENOMEM)
        self.thread.sendall(struct.pack('=Q', self.host_address(AT)))

    def check_end(self):
        """The access has ended QEMU."""
        expect(self.process.wait(), -signal.SIGBUS)


def run_no_stand_in():
    """An access that must not see what is private cannot go on."""
    with check('private memory that nothing stands in for'):
        with faults('library-thread') as control, LostGuest(control) as each:
            each.run()
