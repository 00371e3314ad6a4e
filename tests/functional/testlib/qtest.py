"""Run QEMU's qtests in a scenario.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import os
import re
import subprocess

from .compiled import TOP
from .tap import report, say
from .vm import QEMU

# migration-test boots from a disk.  On q35 SeaBIOS before 1.16.3, as Debian 12
# has it, waits 32 s for an error of the AHCI disk, which QEMU since 8.1 tells
# otherwise.
MIGRATED_MACHINE = 'pc'


def qtest(name, *paths, build='qemu', qemu=QEMU):
    """Run a qtest, or these parts of it, and pass its results on."""
    build = TOP / 'build' / build
    environment = dict(os.environ, QTEST_QEMU_BINARY=str(qemu),
                       QTEST_QEMU_IMG=str(build / 'qemu-img'),
                       QTEST_QEMU_MACHINE_TYPE=MIGRATED_MACHINE)
    parts = [word for path in paths for word in ('-p', path)]
    with subprocess.Popen([build / 'tests/qtest' / name, '--tap', '-k',
                           *parts],
                          cwd=build, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                          ) as process:
        for line in process.stdout:
            line = line.rstrip()
            found = re.match(r'(not )?ok \d+ (\S+)(?: # SKIP (.*))?', line)
            if found:
                report(not found[1], f'{name} {found[2]}', found[3])
            else:
                say(line)
    report(process.returncode == 0, f'{name} ends well')
