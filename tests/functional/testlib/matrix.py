"""Run guests that convert memory, on pages of all sizes.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import tempfile
from pathlib import Path

from .bare import BareGuest, in_place
from .tap import check, expect, expect_between
from .vm import GUEST_MEMFD, backend, main_ram

RESETS = 50
PAGE_SIZES = {'4 KiB': None, '2 MiB': '2M', '1 GiB': '1G'}
PAGES_KIB = {'4 KiB': 4, '2 MiB': 2048, '1 GiB': 1 << 20}


def fill_pool(page, size):
    """Make so many MiB of huge pages."""
    pool = Path(f'/sys/kernel/mm/hugepages/hugepages-{PAGES_KIB[page]}kB')
    count = size * 1024 // PAGES_KIB[page]
    (pool / 'nr_hugepages').write_text(str(count), 'utf-8')
    expect(int((pool / 'nr_hugepages').read_text('utf-8')), count)


def pages_of(page):
    """Return the properties of a backend with such pages."""
    if PAGE_SIZES[page]:
        return {'hugetlb': 'on', 'hugetlbsize': PAGE_SIZES[page]}
    return {}


def guest(name, page='4 KiB', size=64, cpus=1, machine='q35', args=None,
          flags=(), **properties):
    """Return a guest with memory of pages of that size, size in MiB.

    Other arguments say that it has other memory.
    """
    args = args or main_ram(GUEST_MEMFD, size, machine, **pages_of(page),
                            **properties)
    return BareGuest(name, *args, cpus=cpus, flags=flags)


def two_nodes(page):
    """Return arguments for memory in two backends, which meet at 20 MiB."""
    return ['-machine', 'q35', '-m', '64M',
            *backend(GUEST_MEMFD, 'ram0', 20, **pages_of(page)),
            *backend(GUEST_MEMFD, 'ram1', 44, **pages_of(page)),
            '-numa', 'node,memdev=ram0', '-numa', 'node,memdev=ram1']


def mode():
    """Name what KVM does."""
    return 'in place' if in_place() else 'separate'


def run_cell(page, cpus):
    """Run one cell of the matrix."""
    size = 1024 if page == '1 GiB' else 64
    with check(f'{mode()}, pages of {page}, {cpus} processor(s)'):
        with guest('matrix', page, size, cpus) as cell:
            cell.run()
            expect(cell.answers, 3 * cpus + 1)


def run_matrix(pages=tuple(PAGE_SIZES)):
    """Run the matrix of page sizes and numbers of processors."""
    for page in pages:
        for cpus in 1, 2, 4:
            run_cell(page, cpus)


def run_guest(name, page='4 KiB', cpus=1, where='', **options):
    """Run a guest as one test."""
    with check(f'{name}, {mode()}, pages of {page}, {cpus} processor(s)'
               f'{where}'):
        with guest(name, page, cpus=cpus, **options) as each:
            each.run()
            if not each.answers:
                raise AssertionError('the host was never asked')


@functools.cache
def image_file():
    """Return a file with the word that guest "reset" looks for."""
    file = tempfile.NamedTemporaryFile()
    file.write((0x1122334455667788).to_bytes(8, 'little'))
    file.flush()
    return file


def image():
    """Return arguments that load that word."""
    return ('-device', f'loader,file={image_file().name},addr=0x1c00000,'
            'force-raw=on')


def run_resets(page, cpus, resets=RESETS, **options):
    """Memory is as at first after each reset, and no more than then."""
    with check(f'{resets} resets, {mode()}, pages of {page}, {cpus} '
               'processor(s)'):
        memory = main_ram(GUEST_MEMFD, 64, **pages_of(page), **options)
        with guest('reset', cpus=cpus, flags=(f'-DRESETS={resets}',),
                   args=[*memory, *image()]) as each:
            each.run()
            expect(len(each.allocated), resets + 1)
            expect_between(-1, each.allocated[-1] - each.allocated[0], 1)
