/*
 * Memory of huge pages, and what of it is observed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/stat.h>
#include "files.h"
#include "huge.h"
#include "memory.h"
#include "tap.h"

unsigned int order;
size_t hpages;
size_t hsize;
size_t samples[16];
unsigned int nr_samples;

void choose_pages(unsigned int o)
{
    size_t n = 1ul << o;
    /* The ends, the middle, and where the first and last 2 MiB end. */
    size_t all[] = {
        0, 1, 7, PAGES_2M - 1, PAGES_2M, PAGES_2M + 1, n / 2 - 1, n / 2,
        n - PAGES_2M - 1, n - PAGES_2M, n - 2, n - 1,
    };
    size_t i;

    order = o;
    hpages = n;
    hsize = n * PAGE;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        /* In ascending order; what a small huge page hasn't got is left out. */
        if (all[i] < n && (!i || all[i] > samples[nr_samples - 1])) {
            samples[nr_samples++] = all[i];
        }
    }
}

void huge_create(struct mem *mem, struct vm *vm, size_t nr, uint64_t flags)
{
    mem_create_huge(mem, vm, nr * hpages, flags, order);
}

void count_mappings(struct vm *vm, struct mappings *m)
{
    static const char *const names[] = { "pages_4k", "pages_2m", "pages_1g" };
    char path[80];
    int i;

    for (i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s",
                 getpid(), vm->fd, names[i]);
        m->nr[i] = read_number(path, "");
    }
}

void count_code(struct vm *vm, struct mappings *code)
{
    vcpu_run(vm, 0, GUEST(read), 0, CODE_GPA, 0, 0);
    count_mappings(vm, code);
}

void guest_fill(struct mem *mem, size_t first, size_t npages, uint32_t value)
{
    check(vcpu_run(mem->vm, 0, GUEST(fill), value, DATA_GPA + first * PAGE,
                   npages, 0) == 0, "page %zu", first);
}

bool guest_sees(struct mem *mem, size_t first, size_t npages, uint32_t value)
{
    return vcpu_run(mem->vm, 0, GUEST(compare), value, DATA_GPA + first * PAGE,
                    npages, 0) == 0;
}

long blocks(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? -1 : st.st_blocks;
}
