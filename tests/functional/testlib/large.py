"""Convert much memory at once, and stop and reset the machine meanwhile.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from .bare import CONFIDENTIAL, PAGE, BareGuest, in_place
from .matrix import fill_pool, mode, pages_of
from .tap import check, expect, expect_between
from .vm import GUEST_MEMFD, VM, in_use, main_ram

MIB, GIB = 1 << 20, 1 << 30
# as in tests/guest/large.c
AREA, PARTED_END, AREA_END = 16 * MIB, 56 * MIB, 512 * MIB
# how many ranges an answer has, and what it looks at: qapi/guest-memfd.json
MOST_RANGES, MOST_MEMORY = 512, 256 * GIB
SPARSE = 300 * GIB
TRIES = 200
LITTLE = 32


class LargeGuest(BareGuest):
    """The guest, which is stopped within a conversion, and once reset."""

    def __init__(self, page):
        super().__init__('large', *main_ram(GUEST_MEMFD, AREA_END // MIB,
                                            **pages_of(page)),
                         flags=('-DHOLD',) if in_place() else ())
        self.was_reset = False

    def shared(self):
        """Return how much is shared of the memory that is converted."""
        return self.query_memory('ram0')['shared']

    def stop_within(self):
        """Stop the machine when a part of the memory is converted."""
        for _ in range(TRIES):
            self.cmd('stop')
            if 0 < self.shared() < AREA_END - AREA:
                return
            self.cmd('cont')
        raise AssertionError('no conversion was met')

    def check_parted(self):
        """An answer has a part of so many ranges, and says where it ends."""
        info = self.query_memory('ram0', map=True)
        expect(len(info['map']), MOST_RANGES)
        last = info['map'][-1]
        expect(last['offset'] + last['size'], info['map-end'])
        info, = [each for each in self.maps() if each['id'] == 'ram0']
        starts = [part['offset'] for part in info['map']]
        expect(starts, [0, *(part['offset'] + part['size']
                             for part in info['map'][:-1])])
        expect([start for start in starts if AREA <= start < PARTED_END],
               [*range(AREA, PARTED_END, PAGE)])

    def interrupt(self):
        """Stop the machine within a conversion, and let it go on."""
        self.agree()
        self.stop_within()
        if not self.was_reset:
            self.was_reset = True
            self.reset()
        self.cmd('cont')

    def answer(self, question):
        """Do what the guest asks for."""
        if question == 'parted':
            self.check_parted()
        elif question == 'sparse':
            # Shared memory is there when someone touches it.
            expect_between(0, in_use(self.pid)['memfd'], LITTLE)
        elif question == 'interrupt':
            self.interrupt()
            return
        else:
            super().answer(question)
            return
        self.agree()


def run_sparse():
    """An answer looks at so much memory, for all memory together."""
    # With two backings, KVM takes minutes for so much.
    with check(f'a map of {SPARSE // GIB} GiB, {mode()}'), \
            VM('-S', *CONFIDENTIAL,
               *main_ram(GUEST_MEMFD, SPARSE // MIB)) as vm:
        ram, *others = vm.cmd('query-guest-memfd', map=True)
        expect(ram['map'],
               [{'offset': 0, 'size': MOST_MEMORY, 'private': True}])
        expect(ram['map-end'], MOST_MEMORY)
        for other in others:
            expect((other['map'], other['map-end']), ([], 0))
        ram = vm.query_memory('ram0', map=True, map_start=MOST_MEMORY)
        expect(ram['map'], [{'offset': MOST_MEMORY,
                             'size': SPARSE - MOST_MEMORY, 'private': True}])
        expect('map-end' in ram, False)
        vm.quit()


def run_large():
    """Run it on small and on huge pages."""
    fill_pool('2 MiB', AREA_END // MIB)
    for page in '4 KiB', '2 MiB':
        with check(f'{AREA_END // MIB} MiB at once, {mode()}, pages of '
                   f'{page}'), LargeGuest(page) as guest:
            guest.run()
            expect(guest.was_reset, True)
