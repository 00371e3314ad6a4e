"""Find what a Linux kernel prints when something is wrong with it.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re

# A kernel line is known by its time stamp, so that "warning: ..." of QEMU or
# "BUG: ..." of a script is not taken for one.
STAMP = r'\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? '

SIGNS = (
    r'WARNING: ',
    r'(?:watchdog: )?(?:\[ )?BUG[: ]',
    # a maple tree's
    r'WARN at ',
    r'kernel BUG at ',
    r'Oops: ',
    r'UBSAN: ',
    # but for one that was asked for
    r'Kernel panic - not syncing(?!: sysrq triggered crash)',
    r'unchecked MSR access error',
    r'(?:rcu: )?INFO: .*\bstalls?\b',
    r'INFO: task \S+ .*blocked ',
    r'INFO: trying to register non-static key',
    # from then on, lockdep finds nothing any more
    r'INFO: lockdep is turned off',
    r'turning off the locking correctness validator',
    r'Disabling lock debugging due to kernel taint',
)

SPLAT = re.compile(STAMP + '(?:' + '|'.join(SIGNS) + ')')


def find_splats(text, context=12):
    """Return the splats in a log, each with the lines that follow it."""
    lines = text.splitlines()
    found = []
    end = 0
    for number, line in enumerate(lines):
        if number < end or not SPLAT.search(line):
            continue
        end = number + context
        found.append('\n'.join(lines[number:end]))
    return found
