"""Count what it takes to map shared memory for an assigned device.

A guest (tests/guest/timed.c) converts 64 MiB, 4 MiB, and single pages, in
place: without a device, with one, and with one that has a mapping for each
4 KiB, as QEMU 10.2.2 has.  What is more than without a device is what mapping
costs; that is taken of 4 MiB, which QEMU converts at once in all cases.  It is
compared with a call that maps 64 MiB of hugetlbfs (bench/map-memory.c), by the
MiB.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
from statistics import median

from .common import WAYS, compile_plugin, compile_static, in_lab, keep

DEVICES = ('--memory', '2G', '--device', 'intel-iommu,intremap=on', '--device',
           'edu,dma_mask=0xffffffffff')
# KiB; 0 is a page of what was converted at once
WHOLE, STEP, PART = 64 << 10, 4 << 10, 0
ONE_CALL, BY_PAGES = 1.2, 5


def figures(found, page, device, way):
    """Return the medians of a guest."""
    guest, = (each for each in found['guests']
              if (each['page'], each['device'], each['way']) ==
              (page, device, way))
    return {name: median(values) for name, values in guest.items()
            if isinstance(values, list)}


def row(found, page, device):
    """Return what mapping and unmapping a MiB takes, each way."""
    without = figures(found, page, None, None)
    extents, pages = (figures(found, page, device, way)
                      for way in ('extents', 'pages'))
    one = found['one call'][device]
    kinds = (('shared', 'map'), ('private', 'unmap'))
    return {to: {'extents': (extents[f'{STEP} {to}'] -
                             without[f'{STEP} {to}']) / (STEP >> 10),
                 'pages': (pages[f'{STEP} {to}'] -
                           without[f'{STEP} {to}']) / (STEP >> 10),
                 'one call': median(one[call]) / (WHOLE >> 10)}
            for to, call in kinds}


def report(found):
    """Print the figures; return whether they are within the targets."""
    print('\n  Instructions to map a MiB, and to unmap it\n\n'
          f'  {"pages":<7}{"device by":<11}{"":<9}{"extents":>12}'
          f'{"4 KiB each":>12}{"one call":>12}{"/one call":>11}'
          f'{"4 KiB/":>8}')
    good = True
    for page in '4 KiB', '2 MiB':
        for device in found['one call']:
            for to, each in row(found, page, device).items():
                by_one = each['extents'] / each['one call']
                by_pages = each['pages'] / each['extents']
                good = good and by_pages >= BY_PAGES and \
                    (page == '4 KiB' or 0 < by_one <= ONE_CALL)
                print(f'  {page:<7}{device:<11}{to:<9}'
                      f'{each["extents"]:>12.0f}{each["pages"]:>12.0f}'
                      f'{each["one call"]:>12.0f}{by_one:>11.2f}'
                      f'{by_pages:>8.1f}')
    print(f'\n  targets: /one call <= {ONE_CALL} with pages of 2 MiB, '
          f'4 KiB/ >= {BY_PAGES}')
    print('\n  Instructions of a conversion\n\n  '
          f'{"pages":<7}{"device by":<11}{"64 MiB, shared":>16}{"private":>12}'
          f'{"a page of it, private":>23}{"shared":>12}{"mappings":>10}')
    for page in '4 KiB', '2 MiB':
        for device in (None, *found['one call']):
            each = figures(found, page, device, device and 'extents')
            print(f'  {page:<7}{device or "none":<11}'
                  f'{each[f"{WHOLE} shared"]:>16.0f}'
                  f'{each[f"{WHOLE} private"]:>12.0f}'
                  f'{each[f"{PART} private"]:>23.0f}'
                  f'{each[f"{PART} shared"]:>12.0f}'
                  f'{each["extents"]:>10.0f}')
    return good


def measure():
    """Measure; return whether figures are within the targets."""
    program = compile_static(
        'map-memory', 'bench/map-memory.c',
        flags=('-static', '-Ibuild/tree/linux-headers'))
    found = json.loads(in_lab(
        (*DEVICES, *WAYS['in place'], *compile_plugin('count-instructions')),
        'bench/dma', program))
    keep('dma.json', json.dumps(found).replace(', {', ',\n {'))
    return report(found)
