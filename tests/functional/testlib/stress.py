"""Convert memory at random while other memory comes and goes.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import sys
import threading
import time

from .bare import BareGuest
from .matrix import fill_pool, mode, pages_of
from .tap import check, expect, expect_between, say
from .vm import GUEST_MEMFD, Monitor, in_use, main_ram, open_files

MIB = 1 << 20
CPUS = 4
# tests/guest/random.c knows, too
SEED_BITS = 16
# A round asks some 8 times whether it is to be reset.
RESET_WITHIN = 2
# what may be in use more at the end, see in_use(): the guest touches memory
GROWTH = {'guest_memfd': 24, 'memfd': 24, 'huge pages': 12, 'QEMU': 8,
          'mappings': 1, 'files': 0}


class StressGuest(BareGuest):
    """A guest, a thread that plugs memory, and one that asks questions."""

    growth = GROWTH

    def __init__(self, name, page, *args, flags=()):
        memory = main_ram(GUEST_MEMFD, 64, **pages_of(page))
        super().__init__(name, *memory, '-m', '64M,slots=1,maxmem=1G', *args,
                         cpus=CPUS, flags=flags)
        self.plugger, self.observer = (Monitor(self.monitor_channel(each))
                                       for each in ('plugger', 'observer'))
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
        monitor = self.plugger
        monitor.greet()
        while not self.stopping:
            monitor.cmd('object-add', qom_type=GUEST_MEMFD, id='more',
                        size=8 * MIB, prealloc=True)
            monitor.cmd('device_add', driver='pc-dimm', id='dimm',
                        memdev='more')
            monitor.cmd('device_del', id='dimm')
            self.unplugging.set()
            monitor.await_unplugged('dimm')
            self.unplugging.clear()
            monitor.cmd('object-del', id='more')
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
        for name, most in self.growth.items():
            # Less is no leak: QEMU gives back what its start took.
            expect_between(0, max(0, used[name] - self.before[name]), most)

    def run(self):
        """Let all of it run to its end."""
        self.files = open_files(self.pid)
        self.before = in_use(self.pid)
        for thread in self.threads:
            thread.start()
        super().run()


class RandomGuest(StressGuest):
    """A guest that gets a seed for each round; one of two ends by a reset."""

    # It touches more, and after a reset QEMU's heap is larger.
    growth = {**GROWTH, 'guest_memfd': 32, 'memfd': 32, 'huge pages': 16,
              'QEMU': 32}

    def __init__(self, seeds, page):
        super().__init__('random', page, '-device', 'edu')
        self.seeds = [each for seed in seeds for each in (seed, seed)]
        self.seed = 0
        self.bits = []
        # how often the guest is yet to ask, or None in a round without
        self.until_reset = None
        self.resets = 0

    def begin_round(self):
        """Take the next seed, if there is one; each is taken twice."""
        if self.seeds:
            first = len(self.seeds) % 2 == 0
            self.seed = self.seeds.pop(0)
            self.bits = [bit == '1' for bit in f'{self.seed:0{SEED_BITS}b}']
            self.until_reset = (self.seed % RESET_WITHIN if first else
                                None)
        self.agree(bool(self.bits))

    def may_reset(self):
        """Reset the machine, or let the guest go on."""
        if self.until_reset == 0:
            self.until_reset = None
            self.resets += 1
            self.cmd('system_reset')
            return
        if self.until_reset:
            self.until_reset -= 1
        self.agree()

    def answer(self, question):
        """Do what the guest asks for."""
        if question == 'more':
            self.begin_round()
        elif question == 'bit':
            self.agree(self.bits.pop(0))
        elif question == 'reset':
            self.may_reset()
        else:
            super().answer(question)


def run_guest(guest):
    """Let it run, and see that the host has done its part."""
    with guest:
        guest.run()
    say(f'plugged {guest.plugged} times, asked {guest.asked} times')
    expect(guest.plugged > 0 and guest.asked > 0, True)


def run_stress(conversions, page, where=''):
    """Run it as one test."""
    with check(f'{conversions} random conversions, {CPUS} processors, '
               f'{mode()}, pages of {page}{where}'):
        run_guest(StressGuest('stress', page,
                              flags=(f'-DCONVERSIONS={conversions}',)))


def run_seeds(seeds, page, where=''):
    """Run a random guest as one test."""
    with check(f'a random guest, {CPUS} processors, {mode()}, pages of '
               f'{page}, seeds {" ".join(map(str, seeds))}{where}'):
        guest = RandomGuest(seeds, page)
        run_guest(guest)
        expect(guest.resets > 0, True)


def run_random(default):
    """Run a guest with the seeds of the command line, or the default ones."""
    seeds = [int(each) for each in sys.argv[1:] if each.isdigit()] or default
    fill_pool('2 MiB', 64)
    for page in '4 KiB', '2 MiB':
        run_seeds(seeds, page)
