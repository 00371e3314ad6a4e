"""Name the code that the plugin profile-instructions saw.

The emulator translates a page of code once for all programs that map it, so
what is seen of a library may be at another program's address, and has no name.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import functools
import subprocess
from bisect import bisect_right
from pathlib import Path


def sections(path):
    """Return what ran before each mark: instructions by address."""
    found = []
    for line in Path(path).read_text('ascii').splitlines():
        if line == 'mark':
            found.append({})
        else:
            address, count = (int(word, 16) for word in line.split())
            found[-1][address] = found[-1].get(address, 0) + count
    return found


@functools.cache
def symbols(path):
    """Return the addresses and the names of a file's functions, sorted."""
    for options in (), ('-D',):
        text = subprocess.run(
            ['nm', '-n', '--defined-only', *options, path], check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True).stdout
        rows = [line.split() for line in text.splitlines()]
        rows = [row for row in rows if row[1] in 'tTwWi']
        if rows:
            return [int(row[0], 16) for row in rows], [row[2] for row in rows]
    return [0], ['?']


def name(address, code):
    """Return the file and the function of an address."""
    for start, end, offset, path in code:
        if int(start, 16) <= address < int(end, 16):
            starts, names = symbols(path)
            at = address - int(start, 16) + int(offset, 16)
            function = names[max(bisect_right(starts, at) - 1, 0)]
            return Path(path).name, function.partition('@')[0]
    return 'libraries', 'unnamed'


def by_function(section, code):
    """Return the instructions of each function, the most first."""
    functions = {}
    for address, count in section.items():
        function = name(address, code)
        functions[function] = functions.get(function, 0) + count
    return sorted(functions.items(), key=lambda item: -item[1])
