"""Let memtest86+ test private memory.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re

from .bare import CONFIDENTIAL, in_place
from .compiled import TOP
from .guest import CPU
from .matrix import fill_pool, mode, pages_of
from .tap import check, expect, expect_between, say
from .vm import GUEST_MEMFD, VM, main_ram

PROGRAM = TOP / 'build/lab/memtest.bin'
SIZE = 24
# with two backings what is loaded stays shared: the program, and tables
LOADED = 1 << 20
ROWS, COLUMNS = 25, 80
# what a terminal is told: where to go on, or how text is to look
CONTROL = re.compile(r'\x1b\[(?:(\d+);(\d+)H|[?\d;]*[A-Za-z])')


class Screen:
    """What is on a terminal."""

    def __init__(self):
        self.rows = [[' '] * COLUMNS for _ in range(ROWS)]
        self.row = self.column = 0
        self.rest = ''

    def put(self, text):
        """Put characters where the cursor is."""
        for each in text:
            if self.column < COLUMNS:
                self.rows[self.row][self.column] = each
            self.column += 1

    def feed(self, text):
        """Take what the terminal gets."""
        text = self.rest + text
        end = 0
        for found in CONTROL.finditer(text):
            self.put(text[end:found.start()])
            if found[1]:
                self.row, self.column = int(found[1]) - 1, int(found[2]) - 1
            end = found.end()
        # A control sequence may not have come to its end.
        start = text.find('\x1b', end)
        if start < 0:
            start = len(text)
        self.put(text[end:start])
        self.rest = text[start:]

    def text(self):
        """Return what a person would read."""
        return '\n'.join(''.join(row).rstrip() for row in self.rows)


class Memtest(VM):
    """A private guest that tests its memory."""

    def __init__(self, page):
        super().__init__(
            *CONFIDENTIAL, *main_ram(GUEST_MEMFD, SIZE, **pages_of(page)),
            '-cpu', CPU, '-smp', '2', '-kernel', str(PROGRAM),
            '-append', 'console=ttyS0,115200')
        self.socket = self.channel('console')
        self.args += ['-serial', 'chardev:console']
        self.screen = Screen()

    def await_pass(self):
        """Wait until all tests have run once; return how many errors it has.
        """
        shown = None
        while True:
            data = self.socket.recv(4096)
            if not data:
                raise AssertionError('it ended')
            self.screen.feed(data.decode('latin-1'))
            text = self.screen.text()
            test = re.search(r'Test #(\d+)', text)
            if test and test[0] != shown:
                shown = test[0]
                say(shown)
            found = re.search(r'Pass: +(\d+) +Errors: +(\d+)', text)
            if found and (found[1] != '0' or found[2] != '0'):
                say(text)
                return int(found[2])


def run_all(*pages):
    """Test memory of pages of some sizes."""
    for page in pages:
        fill_pool('2 MiB', SIZE)
        with check(f'memtest86+, {mode()}, pages of {page}'), \
                Memtest(page) as guest:
            expect(guest.await_pass(), 0)
            expect_between(0, guest.query_memory('ram0')['shared'],
                           0 if in_place() else LOADED)
