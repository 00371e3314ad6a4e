"""Draw the manual's pictures of a guest's memory, from recordings.

Debian boots in private memory that is converted in place, fetches a file and
copies it.

SPDX-License-Identifier: GPL-2.0-or-later
"""

from .common import OUT, TOP, WAYS, in_lab, run

PICTURES = TOP / 'docs/system/guest-memfd'


def measure():
    """Record and draw; nothing is compared."""
    run('scripts/build-root')
    in_lab(('--memory', '4G', *WAYS['in place']), 'bench/record',
           OUT / 'boot.json')
    for name, file in ('boot', 'boot.json'), ('copy', 'result'):
        run('scripts/guest-memfd-plot', 'draw', '--id', 'ram0', OUT / file,
            PICTURES / f'{name}.png')
        print(f'drawn: {PICTURES}/{name}.png')
    return True
