"""Run the kernel's own selftests.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import re
import subprocess
import tempfile
from pathlib import Path

from .compiled import TOP
from .tap import check, expect, report, say

PACKED = TOP / 'build/lab/selftests.tar'
POOL = Path('/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages')
PARAMETER = Path('/sys/module/kvm/parameters/gmem_in_place_conversion')
SKIPPED = 4

# -n: virtual processors, -m: memslots; a number: how often to repeat
SELFTESTS = (
    'guest_memfd_test',
    'pre_fault_memory_test',
    'set_memory_region_test 2',
    'x86/private_mem_conversions_test',
    'x86/private_mem_conversions_test -n 2',
    'x86/private_mem_conversions_test -n 4 -m 2',
    'x86/private_mem_kvm_exits_test',
)
IN_PLACE_SELFTESTS = (
    'x86/guest_memfd_conversions_test',
)
# with the address of a device
VFIO_SELFTESTS = (
    'vfio/vfio_dma_mapping_test',
    'vfio/vfio_dma_mapping_mmio_test',
    'vfio/vfio_iommufd_setup_test',
    'vfio/vfio_pci_device_test',
    'vfio/vfio_pci_driver_test',
)
# HugeTLB without guest_memfd; the last two make pages bad
HUGETLB_SELFTESTS = (
    'memfd/memfd_test',
    'memfd/memfd_test hugetlbfs',
    'cgroup/test_hugetlb_memcg',
    'mm/hugetlb-mmap',
    'mm/hugetlb-shm',
    'mm/hugetlb-mremap',
    'mm/hugetlb-madvise',
    'mm/hugetlb_dio',
    'mm/hugetlb_madv_vs_map',
    'mm/thuge-gen',
    'mm/hugetlb_reparenting_test.sh -cgroup-v2',
    'mm/hugetlb-soft-offline',
    'mm/hugetlb-read-hwpoison',
)
LONG_HUGETLB_SELFTESTS = (
    'mm/hugetlb_fault_after_madv',
    'mm/charge_reserved_hugetlb.sh -cgroup-v2',
)
LONG_SELFTESTS = (
    'set_memory_region_test 10',
    'x86/private_mem_conversions_test -n 8 -m 4',
    'x86/private_mem_conversions_test -n 6 -m 6 -s anonymous_thp',
)

# what cannot pass on any kernel: what it says last, and why
KNOWN = {'memfd/memfd_test hugetlbfs': (
    'fchmod(/memfd:kern_memfd_seal_exec', 'hugetlbfs ignores F_SEAL_EXEC')}


def must_run(test):
    """Return whether the queue's kernel has all that a part of one needs."""
    return PARAMETER.exists() and 'guest_memfd' in test


def reason_not_to_pass(selftest, done):
    """Return why a selftest did not run, or cannot pass, or nothing."""
    last = done.stdout.rstrip().split('\n')[-1]
    begin, reason = KNOWN.get(selftest, ('', ''))
    if done.returncode == SKIPPED:
        # It says last why it skips, with "1..0 # SKIP" in front or without.
        return last.split('# SKIP')[-1].strip(' -')
    return reason if done.returncode and begin and last.startswith(begin) \
        else ''


def run_one(directory, selftest):
    """Run a selftest, which is one result, and those it counts itself."""
    program, *args = selftest.split()
    path = directory / program
    # so that one which aborts has said where
    at_once = ['stdbuf', '-o0'] if selftest in KNOWN else []
    done = subprocess.run([*at_once, path, *args], cwd=path.parent,
                          check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace')
    say(done.stdout.rstrip())
    for failed, what, skipped in re.findall(
            r'^(not )?ok \d+ (.*?)(?: # SKIP (.*))?$', done.stdout, re.M):
        report(not failed and not (skipped and must_run(what)),
               f'{selftest}: {what}', '' if must_run(what) else skipped)
    for line in re.findall(r'^Skipping .*$', done.stdout, re.M):
        report(True, f'{selftest}: a part', f'it says "{line}"')
    skipped = reason_not_to_pass(selftest, done)
    if done.returncode and not skipped:
        say(f'{selftest} ended with status {done.returncode}')
    report(not done.returncode or bool(skipped), selftest, skipped)


def run_all(selftests):
    """Run selftests, by their command lines."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(['tar', '-C', directory, '-xf', PACKED], check=True)
        for selftest in selftests:
            run_one(Path(directory), selftest)


def run_selftests(in_place, selftests=SELFTESTS):
    """Run selftests where memory is, or is not, converted in place."""
    with check(f'conversion in place is {"on" if in_place else "off"}'):
        expect(PARAMETER.read_text('utf-8').strip(), 'Y' if in_place else 'N')
    if in_place:
        POOL.write_text('4', 'ascii')
        selftests += IN_PLACE_SELFTESTS
    run_all(selftests)


def run_hugetlb_selftests(selftests):
    """Run those of HugeTLB, which want pages, and to be accounted for."""
    POOL.write_text('130', 'ascii')
    subprocess.run(['mount', '-o', 'remount,memory_hugetlb_accounting',
                    '/sys/fs/cgroup'], check=True)
    run_all(selftests)
