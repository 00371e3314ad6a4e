"""A bare-metal guest of tests/guest that has private memory.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import itertools
import mmap
import os
import re
from bisect import bisect_right
from pathlib import Path

from .compiled import firmware
from .pin import Pin
from .tap import expect, say
from .vm import VM, in_use

PAGE = mmap.PAGESIZE
HUGE_PAGE = 2 << 20
LARGE = 64 << 20
# of the pages of a range, see looked_at()
EDGE, STEP = 32, 13
WORD = (1 << 64) - 1
# QEMU's status if the guest says so; its own errors and sanitizers' have 1
GOOD_END = 43
CONFIDENTIAL = ('-object', 'sw-protected-guest,id=cg0',
                '-machine', 'confidential-guest-support=cg0')
# why such a guest can be neither migrated nor saved
BLOCKED = "State blocked by non-migratable device 'sw-protected-guest'"
IN_PLACE = Path('/sys/module/kvm/parameters/gmem_in_place_conversion')


@functools.cache
def in_place():
    """Return whether KVM converts memory in place."""
    return IN_PLACE.exists() and IN_PLACE.read_text('utf-8').strip() == 'Y'


def pattern(gpa, seed):
    """Return the word that guests write to a page, as pattern() of theirs."""
    return ((gpa + 1) * (seed | 1) & WORD) ^ 0x9e3779b97f4a7c15


def negative(word):
    """Return a number of 64 bits that a guest has printed."""
    number = int(word, 16)
    return number - (number >> 63 << 64)


def looked_at(start, end):
    """Return the pages of a range that the host looks at.

    Of a large one these are those at its ends, those where huge pages meet,
    and some between: each is a system call.
    """
    pages = range(start, end, PAGE)
    if len(pages) <= 2 * EDGE:
        return pages
    return sorted({*pages[:EDGE], *pages[::STEP], *pages[-EDGE:],
                   *(gpa for gpa in pages
                     if gpa % HUGE_PAGE in (0, HUGE_PAGE - PAGE))})


class BareGuest(VM):
    """A VM that runs one guest of tests/guest."""

    confidential = CONFIDENTIAL

    def __init__(self, name, *args, cpus=1, flags=()):
        super().__init__(
            '-cpu', 'host', '-smp', str(cpus),
            *self.load(firmware(name, *flags).path),
            '-device', 'isa-debug-exit,iobase=0xf4', *self.confidential,
            *args)
        self.socket = self.channel('console')
        self.console = self.socket.makefile('r', errors='replace')
        self.args += ['-serial', 'chardev:console']
        self.answers = 0
        self.said = []
        self.used = []
        self.pin = None
        self.states = {}

    def load(self, file):
        """Return arguments for firmware."""
        return '-bios', file

    def read_words(self, addresses):
        """Return words of QEMU, None where it has none.

        This touches the pages as QEMU would, but with no harm to it.
        """
        words = []
        memory = os.open(f'/proc/{self.pid}/mem', os.O_RDONLY)
        for address in addresses:
            try:
                data = os.pread(memory, 8, address)
            except OSError:
                data = None
            words.append(data and int.from_bytes(data, 'little'))
        os.close(memory)
        return words

    def words(self, pages):
        """Return the first words of pages of guest memory, by address."""
        words = {}
        # No two parts of memory meet within a huge page.
        for _, part in itertools.groupby(pages, lambda gpa: gpa // HUGE_PAGE):
            part = list(part)
            host = self.host_address(part[0]) - part[0]
            words.update(zip(part,
                             self.read_words(host + gpa for gpa in part)))
        return words

    def stand_ins(self):
        """Return how many pages QEMU has accessed, and sees as zeros."""
        return sum(each['stand-ins'] for each in self.cmd('query-guest-memfd'))

    def maps(self):
        """Return what QMP tells of private memory, with all of its map."""
        infos = self.cmd('query-guest-memfd', map=True)
        for info in infos:
            while 'map-end' in info:
                more = self.query_memory(
                    info['id'], map=True,
                    **{'map-start': info.pop('map-end')})
                info['map'] += more.pop('map')
                info.update(more)
        return infos

    def known_states(self):
        """Return parts of QEMU's memory, and whether it has them as private.

        They begin and end at addresses in QEMU.
        """
        blocks = dict(re.findall(r'^ *(\S+) .* (0x[0-9a-f]+) +r[ow]\s*$',
                                 self.hmp('info ramblock'), re.M))
        states = []
        for info in self.maps():
            if info['mode'] == 'shared':
                # about to be plugged, or just unplugged
                continue
            expect(info['mode'], 'in-place' if in_place() else 'separate')
            if info['id'] not in blocks:
                # unplugged, and kept
                continue
            for part in info['map']:
                start = int(blocks[info['id']], 16) + part['offset']
                states.append((start, start + part['size'], part['private']))
        return states

    def check_map(self):
        """In place, what is private for QEMU is private for the kernel."""
        for start, end, private in self.known_states():
            if not in_place():
                break
            # Of a large part, which no guest has looked at, some pages do.
            step = PAGE if end - start <= LARGE else 61 * PAGE
            words = self.read_words(range(start, end, step))
            expect({word is None for word in words}, {private})

    def mark(self, start, end, seed):
        """Write a word to pages of guest memory, where QEMU could."""
        known = sorted(self.known_states())
        starts = [first for first, _, _ in known]
        self.states = {}
        memory = os.open(f'/proc/{self.pid}/mem', os.O_WRONLY)
        for gpa, size, host in self.parts(start, end):
            for offset in range(0, size, PAGE):
                part = known[bisect_right(starts, host + offset) - 1]
                expect(host + offset < part[1], True)
                self.states[gpa + offset] = part[2]
                mark = pattern(gpa + offset, seed).to_bytes(8, 'little')
                try:
                    os.pwrite(memory, mark, host + offset + len(mark))
                except OSError:
                    # private, in place
                    continue
        os.close(memory)

    def parts(self, start, end):
        """Yield parts of guest memory: address, size, and where QEMU has it.

        No two blocks of memory meet within a huge page.
        """
        while start < end:
            size = min(HUGE_PAGE - start % HUGE_PAGE, end - start)
            yield start, size, self.host_address(start)
            start += size

    def check_states(self, gpa, *runs):
        """What the guest has as private or shared is that for QEMU, too.

        It has so many pages as private, then so many as shared, and so on.
        """
        for private, pages in zip(itertools.cycle((True, False)), runs):
            end = gpa + pages * PAGE
            expect({self.states[each] for each in range(gpa, end, PAGE)},
                   {private} if pages else set())
            gpa = end

    def sights(self, word, wanted):
        """Return what a page can be called in which there is such a word."""
        if word == wanted:
            return ['seen']
        return ['hidden'] if word is None or not in_place() else []

    def check_words(self, what, start, end, seed):
        """Look at what a guest says of its memory."""
        for gpa, word in self.words(looked_at(start, end)).items():
            if what not in self.sights(word, pattern(gpa, seed)):
                raise AssertionError(f'page {gpa:#x} is not {what}: {word}')

    def answer(self, question):
        """Do what a guest asks for."""
        what, *numbers = question.split()
        if what == 'map':
            self.check_map()
        elif what == 'pin':
            self.pin = Pin(self.pid, self.host_address(int(numbers[0], 16)))
        elif what == 'unpin':
            self.pin.release()
        elif what == 'sleep':
            pass
        elif what == 'mark':
            self.mark(*(int(each, 16) for each in numbers))
        elif what == 'states':
            self.check_states(*(int(each, 16) for each in numbers))
        else:
            self.check_words(what, *(int(each, 16) for each in numbers))
            self.used.append(in_use(self.pid))
        self.agree()

    def agree(self, more=True):
        """Let the guest go on, with more of the same or without."""
        self.answers += 1
        self.socket.sendall(b'y' if more else b'n')

    def run(self):
        """Let the guest run to its end, which must be a good one."""
        for line in self.console:
            line = line.rstrip()
            if line.startswith('host: '):
                self.answer(line[len('host: '):])
            else:
                say(f'L2: {line}')
                self.said.append(line)
        self.check_end()

    def check_end(self):
        """The guest ended as one to which nothing bad has happened."""
        expect(self.process.wait(), GOOD_END)
