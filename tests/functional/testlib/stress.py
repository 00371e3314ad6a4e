"""Convert memory at random while other memory comes and goes.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import threading
import time

from .bare import BareGuest
from .matrix import mode, pages_of
from .tap import check, expect, expect_between, say
from .vm import GUEST_MEMFD, Monitor, in_use, main_ram, open_files

MIB = 1 << 20
CPUS = 4
# what may be in use more at the end, see in_use(): the guest touches memory
GROWTH = {'guest_memfd': 24, 'memfd': 24, 'huge pages': 12, 'QEMU': 8,
          'mappings': 1, 'files': 0}


class StressGuest(BareGuest):
    """A guest, a thread that plugs memory, and one that asks questions."""

    def __init__(self, conversions, page):
        memory = main_ram(GUEST_MEMFD, 64, **pages_of(page))
        super().__init__('stress', *memory, '-m', '64M,slots=1,maxmem=1G',
                         cpus=CPUS, flags=(f'-DCONVERSIONS={conversions}',))
        self.observer = Monitor(self.monitor_channel('observer'))
        self.stopping = False
        self.files, self.before = [], {}
        self.unplugging = threading.Event()
        self.plugged = self.asked = 0
        self.errors = []
        self.threads = [threading.Thread(target=self.guard, args=(each,))
                        for each in (self.plug, self.ask)]

    def guard(self, work):
        """Keep what a thread fails with."""
        try:
            work()
        except Exception as error:
            say(f'{work.__name__}: {error!r}')
            self.errors.append(error)

    def plug(self):
        """Plug and unplug memory."""
        while not self.stopping:
            self.cmd('object-add', qom_type=GUEST_MEMFD, id='more',
                     size=8 * MIB, prealloc=True)
            self.cmd('device_add', driver='pc-dimm', id='dimm', memdev='more')
            self.cmd('device_del', id='dimm')
            self.unplugging.set()
            self.await_unplugged('dimm')
            self.unplugging.clear()
            self.cmd('object-del', id='more')
            self.plugged += 1

    def ask(self):
        """Look at the guest's memory."""
        self.observer.greet()
        while not self.stopping:
            self.observer.cmd('query-guest-memfd', map=True)
            self.observer.cmd('query-memory-devices')
            self.asked += 1

    def answer(self, question):
        """Do what the guest asks for."""
        if question == 'stop':
            self.stopping = True
            # It goes on when the guest lets the memory go.
            while self.threads[0].is_alive() and not self.unplugging.is_set():
                time.sleep(0.01)
        elif question == 'stopped':
            for thread in self.threads:
                thread.join()
        else:
            super().answer(question)
            return
        self.agree()

    def check_map(self):
        """All is as at the beginning, and the states are right."""
        if self.errors:
            raise self.errors[0]
        self.await_files(self.files)
        super().check_map()
        used = in_use(self.pid)
        for name, most in GROWTH.items():
            # Less is no leak: QEMU gives back what its start took.
            expect_between(0, max(0, used[name] - self.before[name]), most)

    def run(self):
        """Let all of it run to its end."""
        self.files = open_files(self.pid)
        self.before = in_use(self.pid)
        for thread in self.threads:
            thread.start()
        super().run()


def run_stress(conversions, page, where=''):
    """Run it as one test."""
    with check(f'{conversions} random conversions, {CPUS} processors, '
               f'{mode()}, pages of {page}{where}'):
        with StressGuest(conversions, page) as guest:
            guest.run()
        say(f'plugged {guest.plugged} times, asked {guest.asked} times')
        expect(guest.plugged > 0 and guest.asked > 0, True)
