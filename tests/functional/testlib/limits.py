"""Run QEMU where the host limits what it may have.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import resource
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from .bare import CONFIDENTIAL, BareGuest, in_place
from .failing import Books, Errors, qmp_pages, refusal
from .matrix import mode, pages_of, run_guest
from .pin import map_memory
from .storage_daemon import daemon
from .tap import check, expect, expect_in
from .vm import GUEST_MEMFD, VM, main_ram, open_files, start_refused

MIB = 1 << 20
# MiB; of a page, and of a pool
PAGE, PER_NODE, SIZE, DISK = 2, 96, 64, 8
POOL = 'hugepages/hugepages-2048kB'
NODES = [Path(f'/sys/devices/system/node/node{node}') / POOL
         for node in (0, 1)]
GROUPS = Path('/sys/fs/cgroup')
# tests/guest/disk.c: others reach shared memory only
BACK_END = ('-DOTHERS=1',)


def set_pool(*sizes):
    """Give each node so many MiB of huge pages."""
    for node, size in zip(NODES, sizes):
        (node / 'nr_hugepages').write_text(str(size // PAGE), 'utf-8')
        expect(int((node / 'nr_hugepages').read_text('utf-8')) * PAGE, size)


def free():
    """Return how many MiB of huge pages are free, and not reserved."""
    pool = Path('/sys/kernel/mm') / POOL
    return (int((pool / 'free_hugepages').read_text('utf-8')) -
            int((pool / 'resv_hugepages').read_text('utf-8'))) * PAGE


def await_free(size):
    """Wait until so many MiB are."""
    # The kernel goes on after a file is closed, or a process gone.
    end = time.monotonic() + 20
    while free() != size:
        if time.monotonic() > end:
            expect(free(), size)
        time.sleep(0.01)


def limit_files(pid, size):
    """Let a process have files of so many bytes at most."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE,
                     (size, resource.RLIM_INFINITY))


def add(vm, page='2 MiB', size=SIZE, **properties):
    """Create a memory backend; return the error, or None."""
    return refusal(vm.qmp('object-add', qom_type=GUEST_MEMFD, id='mem',
                          size=size * MIB, **qmp_pages(page), **properties))


def run_file_size():
    """The limit of a file's size concerns memfds, and ends nobody."""
    with VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, 16)) as vm:
        for page in '4 KiB', '2 MiB':
            with check(f'RLIMIT_FSIZE, {mode()}, pages of {page}'):
                books = Books(vm)
                limit_files(vm.pid, 4096)
                error = add(vm, page, prealloc=True)
                limit_files(vm.pid, resource.RLIM_INFINITY)
                if in_place():
                    expect(error, None)
                else:
                    expect_in('failed to resize memfd to 67108864: File too '
                              'large', error)
                    books.expect_same()
                    expect(add(vm, page, prealloc=True), None)
                vm.cmd('object-del', id='mem')
                books.expect_same()


@contextmanager
def control_group(process=None):
    """Have a control group, and a process in it, by default this one."""
    (GROUPS / 'cgroup.subtree_control').write_text('+hugetlb', 'utf-8')
    group = GROUPS / 'limited'
    group.mkdir()
    who = str(process or os.getpid())
    (group / 'cgroup.procs').write_text(who, 'utf-8')
    try:
        yield group
    finally:
        (GROUPS / 'cgroup.procs').write_text(who, 'utf-8')
        group.rmdir()


def set_limit(group, name, size):
    """Limit the huge pages of a control group, in MiB."""
    value = 'max' if size is None else str(size * MIB)
    (group / f'hugetlb.2MB.{name}').write_text(value, 'utf-8')


def charged(group, name):
    """Return the MiB of huge pages that a control group has."""
    return int((group / f'hugetlb.2MB.{name}').read_text('utf-8')) // MIB


def run_reservation_limit():
    """Huge pages are charged when they are reserved, at creation."""
    with check(f'rsvd.max, {mode()}, at start-up'), control_group() as group:
        set_limit(group, 'rsvd.max', SIZE - PAGE)
        text = start_refused(*CONFIDENTIAL,
                             *main_ram(GUEST_MEMFD, SIZE,
                                       **pages_of('2 MiB')))
        expect_in('Cannot allocate memory\n', text)
        expect_in('hugetlb.2MB.rsvd.max in /sys/fs/cgroup/.\n', text)
    with check(f'rsvd.max, {mode()}, by object-add'), \
            VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, 16)) as vm, \
            control_group(vm.pid) as group:
        books = Books(vm)
        set_limit(group, 'rsvd.max', SIZE - PAGE)
        expect_in('Cannot allocate memory', add(vm))
        books.expect_same()
        expect(charged(group, 'rsvd.current'), 0)
        set_limit(group, 'rsvd.max', None)
        expect(add(vm), None)
        expect(charged(group, 'rsvd.current'), SIZE)
        vm.cmd('object-del', id='mem')
        books.expect_same()
        expect(charged(group, 'rsvd.current'), 0)


def run_use_limit():
    """Huge pages are charged for use by whoever uses them first."""
    with check(f'max, {mode()}, prealloc=on'), \
            VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, 16)) as vm, \
            control_group(vm.pid) as group:
        books = Books(vm)
        set_limit(group, 'max', SIZE - PAGE)
        error = add(vm, prealloc=True)
        expect_in('Cannot allocate memory' if in_place() else
                  'preallocating memory failed: Bad address', error)
        books.expect_same()
        set_limit(group, 'max', None)
        expect(add(vm, prealloc=True), None)
        expect(charged(group, 'current'), SIZE)
        vm.cmd('object-del', id='mem')
        books.expect_same()


class StarvedGuest(BareGuest):
    """A guest that finds no page where it is to have one, and is reset."""

    def __init__(self, give):
        super().__init__('matrix', '-S',
                         *main_ram(GUEST_MEMFD, SIZE, policy='bind',
                                   **{'host-nodes': 1}, **pages_of('2 MiB')))
        self.give = give
        self.errors = Errors(self)

    def starve(self):
        """Run out of pages, and get some."""
        self.cmd('cont')
        self.await_event('STOP')
        expect(self.cmd('query-status')['status'], 'internal-error')
        expect_in('kvm run failed', self.errors.new())
        self.give()
        self.cmd('system_reset')
        self.await_event('RESET')
        self.cmd('cont')
        self.run()


def run_small_node():
    """A node that has too few pages stops the machine, until it has them."""
    with check(f'a node without huge pages, {mode()}'):
        set_pool(PER_NODE, PER_NODE)
        with StarvedGuest(lambda: set_pool(PER_NODE, PER_NODE)) as guest:
            set_pool(PER_NODE, 0)
            guest.starve()
    with check(f'a node with too few huge pages, {mode()}'), \
            VM('-S', *CONFIDENTIAL, *main_ram(GUEST_MEMFD, 16)) as vm:
        books = Books(vm)
        set_pool(PER_NODE, SIZE - PAGE)
        bound = {'policy': 'bind', 'host-nodes': [1]}
        expect_in("doesn't take value 'bind': 'size' is 64 MiB, but the "
                  "'host-nodes' have only 62 MiB of free huge pages",
                  add(vm, **bound))
        books.expect_same()
        set_pool(PER_NODE, PER_NODE)
        expect(add(vm, prealloc=True, **bound), None)


def kill(vm):
    """End QEMU as the OOM killer does."""
    os.kill(vm.pid, signal.SIGKILL)
    vm.process.wait()


def run_survivor():
    """Memory outlives its QEMU with whoever has it mapped, and no longer."""
    memory = main_ram(GUEST_MEMFD, SIZE, prealloc='on', **pages_of('2 MiB'))
    if not in_place():
        # others have no huge pages there
        memory += CONFIDENTIAL
    total = free()
    with check(f'QEMU is killed, and another process has its memory, '
               f'{mode()}'):
        with VM('-S', *memory) as vm:
            expect(free(), total - SIZE)
            kept = map_memory(vm.pid, vm.host_address(0), SIZE * MIB)
            kill(vm)
        kept[PAGE * MIB] = 1
        with VM('-S', *memory):
            expect(free(), total - 2 * SIZE)
        await_free(total - SIZE)
        kept.close()
        await_free(total)


class KilledGuest(BareGuest):
    """A guest whose QEMU is killed while a back end serves it."""

    def answer(self, _question):
        """Kill it, instead of an answer."""
        kill(self)

    def check_end(self):
        """QEMU was killed."""
        expect(self.process.wait(), -signal.SIGKILL)


def run_back_end():
    """A back end lets go of the memory of a QEMU that is killed."""
    total = free()
    with tempfile.TemporaryDirectory() as directory:
        disk, socket = f'{directory}/disk', f'{directory}/socket'
        with open(disk, 'wb') as file:
            file.truncate(DISK * MIB)
        args = [*main_ram(GUEST_MEMFD, SIZE, **pages_of('2 MiB')),
                '-chardev', f'socket,id=vhost,path={socket}', '-device',
                'vhost-user-blk-pci,chardev=vhost,iommu_platform=off,'
                'disable-legacy=on']
        with daemon(disk, socket) as pid:
            with check('QEMU is killed while a back end serves it'):
                with KilledGuest('disk', *args, flags=BACK_END) as guest:
                    guest.run()
                await_free(total)
                expect([each for each in open_files(pid)
                        if GUEST_MEMFD in each], [])
            run_guest('disk', where=', and the next one', args=args,
                      flags=BACK_END)
            await_free(total)


def run_limits():
    """Try them all."""
    set_pool(PER_NODE, PER_NODE)
    run_file_size()
    run_reservation_limit()
    run_use_limit()
    run_survivor()
    if not in_place():
        run_back_end()
    run_small_node()
