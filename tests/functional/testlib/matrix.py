"""Run guests that convert memory, on pages of all sizes.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import os
import time
from errno import EIO
from itertools import accumulate, product
from pathlib import Path

from .bare import CONFIDENTIAL, BareGuest, in_place
from .faults import ALWAYS, faults
from .files import file_with
from .tap import FULL, check, expect, expect_between
from .vm import GUEST_MEMFD, VM, backend, main_ram, preloaded

RESETS = 50 if FULL else 10
# of each of 8 kinds
REFUSALS = 125000 if FULL else 1000
# what guests are compiled with
FLAGS = {} if FULL else {'conversion': ('-DEVERY=3',)}
# MiB; of less memory QEMU takes no samples
SAMPLED = 128
# properties of a backend; labs that have pages of 1 GiB have them by default
PAGE_SIZES = {'4 KiB': {}, '2 MiB': {'hugetlb': 'on', 'hugetlbsize': '2M'},
              '1 GiB': {'hugetlb': 'on'}}
PAGES_KIB = {'4 KiB': 4, '2 MiB': 2048, '1 GiB': 1 << 20}


def pool_of(page):
    """Return the kernel's directory for huge pages of a size."""
    return Path(f'/sys/kernel/mm/hugepages/hugepages-{PAGES_KIB[page]}kB')


def await_pool(page):
    """Wait until no huge page is in use."""
    # The kernel goes on after a file is closed, or a process gone.
    while len({(pool_of(page) / f'{each}_hugepages').read_text('utf-8')
               for each in ('nr', 'free')}) > 1:
        time.sleep(0.01)


def fill_pool(page, size):
    """Make so many MiB of huge pages."""
    pool = pool_of(page)
    count = size * 1024 // PAGES_KIB[page]
    (pool / 'nr_hugepages').write_text(str(count), 'utf-8')
    expect(int((pool / 'nr_hugepages').read_text('utf-8')), count)


def pages_of(page):
    """Return the properties of a backend with such pages."""
    return PAGE_SIZES[page]


def guest(name, page='4 KiB', size=64, cpus=1, machine='q35', args=None,
          flags=(), **properties):
    """Return a guest with memory of pages of that size, size in MiB.

    Other arguments say that it has other memory.
    """
    args = args or main_ram(GUEST_MEMFD, size, machine, **pages_of(page),
                            **properties)
    return BareGuest(name, *args, cpus=cpus,
                     flags=flags or FLAGS.get(name, ()))


def two_nodes(page):
    """Return arguments for memory in two backends, which meet at 20 MiB."""
    return ['-machine', 'q35', '-m', '64M',
            *backend(GUEST_MEMFD, 'ram0', 20, **pages_of(page)),
            *backend(GUEST_MEMFD, 'ram1', 44, **pages_of(page)),
            '-numa', 'node,memdev=ram0', '-numa', 'node,memdev=ram1']


def run_two_nodes():
    """Run a guest whose conversions go over two backends."""
    for page in ('4 KiB', '2 MiB') if FULL else ['4 KiB']:
        run_guest('conversion', page, where=', two nodes',
                  args=two_nodes(page))


def mode():
    """Name what KVM does."""
    return 'in place' if in_place() else 'separate'


def size_for(page):
    """Return how much memory, in MiB, a guest with such pages has."""
    return 1024 if page == '1 GiB' else 64


def expect_page_size(guest, page):
    """Expect a guest's main memory to be of such pages."""
    expect(guest.query_memory('ram0')['page-size'], PAGES_KIB[page] << 10)


def run_cell(page, cpus):
    """Run one cell of the matrix."""
    size = size_for(page)
    with check(f'{mode()}, pages of {page}, {cpus} processor(s)'):
        with guest('matrix', page, size, cpus) as cell:
            expect_page_size(cell, page)
            cell.run()
            expect(cell.answers, 3 * cpus + 3)


def run_matrix():
    """Run the matrix of page sizes and numbers of processors.

    Each size and each number is in what is run without --full.
    """
    cells = (('4 KiB', 2), ('2 MiB', 4), ('1 GiB', 1))
    for cell in product(PAGE_SIZES, (1, 2, 4)) if FULL else cells:
        run_cell(*cell)


def run_guest(name, page='4 KiB', cpus=1, where='', **options):
    """Run a guest as one test."""
    with check(f'{name}, {mode()}, pages of {page}, {cpus} processor(s)'
               f'{where}'):
        with guest(name, page, cpus=cpus, **options) as each:
            each.run()
            if not each.answers:
                raise AssertionError('the host was never asked')


def run_refused():
    """Requests that must be refused cost the guest time, and nothing else."""
    run_guest('refused', where=f', {8 * REFUSALS} times',
              flags=(f'-DTIMES={REFUSALS}',))


def run_odd():
    """Run a guest whose memory ends within a huge page, and within a MiB."""
    size = f'{(65 << 10) + 8}K'
    run_guest('matrix', where=f', of {size}', args=[
        '-machine', 'q35,memory-backend=ram0', '-m', size,
        '-object', f'{GUEST_MEMFD},id=ram0,size={size}'])


def await_dirty_rate(each):
    """Wait until QEMU has measured it; there is no event for that."""
    while each.cmd('query-dirty-rate')['status'] != 'measured':
        pass


def measure_dirty_rate(each, mode, **options):
    """Let QEMU measure how fast a guest writes to memory."""
    each.cmd('calc-dirty-rate', calc_time=1, mode=mode, **options)
    await_dirty_rate(each)


def run_measured():
    """The dirty rate says little of private memory, but can be asked for."""
    with check(f'the dirty rate of private memory, {mode()}'):
        with guest('refused', size=SAMPLED) as each:
            for how in 'page-sampling', 'dirty-bitmap':
                measure_dirty_rate(each, how)


def expect_private(vm, backend_id):
    """All memory of a backend is private."""
    parts = vm.query_memory(backend_id, map=True)['map']
    expect([part['private'] for part in parts], [True])


def run_plugged():
    """Memory is private when it is plugged, however old it is."""
    memory = [*main_ram(GUEST_MEMFD, 64), '-m', '64M,slots=3,maxmem=1G',
              *backend(GUEST_MEMFD, 'old', 16)]
    with check(f'memory that is plugged is private, {mode()}'), \
            VM('-S', *CONFIDENTIAL, *memory) as vm:
        for name in 'new', 'reset':
            vm.cmd('object-add', qom_type=GUEST_MEMFD, id=name, size=16 << 20)
        for name in 'old', 'new':
            vm.cmd('device_add', driver='pc-dimm', memdev=name)
            expect_private(vm, name)
        vm.reset()
        vm.cmd('device_add', driver='pc-dimm', memdev='reset')
        for name in 'old', 'new', 'reset':
            expect_private(vm, name)


class PluggingGuest(BareGuest):
    """A guest that has memory plugged, unplugged, and plugged again."""

    def plug(self):
        """Plug the memory, which is private however it was left."""
        if self.answers:
            self.await_unplugged('dimm')
        self.cmd('device_add', driver='pc-dimm', id='dimm', memdev='more')
        expect_private(self, 'more')

    def fill(self, start, end):
        """Write to memory that is shared."""
        memory = os.open(f'/proc/{self.pid}/mem', os.O_WRONLY)
        for gpa, size, host in self.parts(start, end):
            os.pwrite(memory, gpa.to_bytes(8, 'little'), host + size - 8)
        os.close(memory)

    def empty(self, start, end):
        """Nothing is left of that."""
        expect({*self.read_words(
            host + size - 8
            for _, size, host in self.parts(start, end))}, {0})

    def answer(self, question):
        """Do what a guest asks for."""
        what, *numbers = question.split()
        if what == 'unplug':
            self.cmd('device_del', id='dimm')
        elif what in ('plug', 'fill', 'empty'):
            getattr(self, what)(*(int(each, 16) for each in numbers))
        else:
            super().answer(question)
            return
        self.agree()


def run_replugged(page):
    """Memory that is plugged again is private and empty."""
    with check(f'memory that is plugged again, {mode()}, pages of {page}'):
        memory = main_ram(GUEST_MEMFD, 64, **pages_of(page))
        with PluggingGuest('replugged', *memory, '-m',
                           '64M,slots=1,maxmem=1G',
                           *backend(GUEST_MEMFD, 'more', 16,
                                    **pages_of(page))) as each:
            each.run()
            expect(each.answers, 6)


class StuckGuest(BareGuest):
    """A guest of whose memory a part remains shared, as QEMU knows."""

    def __init__(self, control):
        super().__init__('stuck', *two_nodes('4 KiB'))
        self.control = control

    def refuse(self):
        """Refuse what is asked of the second backend, and to undo it."""
        call = 'KVM_SET_MEMORY_ATTRIBUTES2' if in_place() else \
            'KVM_SET_MEMORY_ATTRIBUTES'
        self.control.order(call, EIO, nth=2, count=ALWAYS)
        self.agree()

    def answer(self, question):
        """Look at what QEMU says."""
        if question == 'refuse':
            self.refuse()
            return
        self.control.clear()
        if question == 'map' and self.answers == 1:
            infos = {info['id']: info
                     for info in self.cmd('query-guest-memfd', map=True)}
            first, second = infos['ram0'], infos['ram1']
            expect((first['failures'], second['failures']), (1, 1))
            expect(first['map'][-1],
                   {'offset': 19 << 20, 'size': 1 << 20, 'private': False})
            expect([part['private'] for part in second['map']], [True])
        super().answer(question)


def run_stuck():
    """A conversion fails, and KVM doesn't let QEMU undo all of it."""
    with check(f'a conversion that cannot be undone, {mode()}'):
        with faults() as control, StuckGuest(control) as each:
            each.run()


@functools.cache
def image_file():
    """Return a file with the word that guest "reset" looks for."""
    return file_with((0x1122334455667788).to_bytes(8, 'little'))


def image():
    """Return arguments that load that word."""
    return ('-device', f'loader,file={image_file().name},addr=0x1c00000,'
            'force-raw=on')


def expect_no_growth(used):
    """Resets take nothing, but for what QEMU has after the first one."""
    for name in used[1]:
        sizes = [each[name] for each in used[1:]]
        if name == 'QEMU':
            # Once in a while its heap takes some MiB more.  A leak comes
            # again, if only with one of the three kinds of reset.
            peaks = set(accumulate(sizes, max))
            expect_between(1, len(peaks), 3)
        else:
            expect_between(-1, sizes[-1] - sizes[0], 1)


def run_resets(page, cpus, resets=RESETS, where='', **options):
    """Memory is as at first after each reset, and no more than then."""
    with check(f'{resets} resets, {mode()}, pages of {page}, {cpus} '
               f'processor(s){where}'):
        memory = main_ram(GUEST_MEMFD, size_for(page), **pages_of(page),
                          **options)
        with guest('reset', cpus=cpus, flags=(f'-DRESETS={resets}',),
                   args=[*memory, *image()]) as each:
            each.run()
            expect(len(each.used), resets + 1)
            expect_no_growth(each.used)


class SleepingGuest(BareGuest):
    """A guest that sleeps until it is woken."""

    def answer(self, question):
        """Wake the guest."""
        super().answer(question)
        if question == 'sleep':
            self.await_event('SUSPEND')
            self.cmd('system_wakeup')


def run_asleep():
    """Sleep is no reset: memory is what it was."""
    with check(f'a guest sleeps and wakes up, {mode()}'):
        word = 'loader,addr=0x1d00000,data=0x77,data-len=8'
        with SleepingGuest('asleep', *main_ram(GUEST_MEMFD, 64), *image(),
                           '-device', word) as each:
            each.run()
            expect(each.answers > 1, True)


def run_chipset(page):
    """Run the guest that moves devices, small ones too, over its memory."""
    memory = main_ram(GUEST_MEMFD, size_for(page), **pages_of(page))
    run_guest('chipset', page, args=[*memory, '-device', 'pci-ohci'])


def run_missing():
    """Memory that KVM refused is there when the memory map changes next."""
    with check(f'memory that was refused comes later, {mode()}'), \
            preloaded('refuse-memslot'), \
            BareGuest('missing', *main_ram(GUEST_MEMFD, 64)) as each:
        each.run()
        expect(each.answers > 1, True)


def run_others():
    """Run the other guests, with --full on pages of all sizes."""
    for page in PAGE_SIZES if FULL else ['2 MiB' if in_place() else '4 KiB']:
        for name, cpus in (('conversion', 2), ('neighbours', 4),
                           ('refused', 1), ('remapped', 3)):
            run_guest(name, page, cpus, size=size_for(page))
        run_chipset(page)
        run_resets(page, 2)


def run_all():
    """Run what is tried in place as with two backings."""
    run_matrix()
    run_others()
    run_two_nodes()
    run_refused()
    run_odd()
    run_guest('matrix', machine='microvm')
    run_measured()
    run_plugged()
    run_asleep()
    for page in '4 KiB', '2 MiB':
        run_replugged(page)
    run_stuck()
    run_missing()
