/*
 * A guest that asks for what it must not get, again and again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "runtime.h"

#define AREA    (16 * MIB)
#define HOLE    (3072 * MIB)            /* nothing is there with little RAM */

#ifndef TIMES
#define TIMES   10
#endif

enum { SEED = 0x44 };

struct request {
    const char *what;
    uint64_t gpa;
    uint64_t pages;
    bool private;
};

static const struct request refused[] = {
    { "unaligned", AREA + 1, 1, true },
    { "nothing", AREA, 0, true },
    { "more than there is", AREA, UINT64_MAX / PAGE, true },
    { "more bytes than can be counted", AREA, UINT64_MAX / PAGE + 2, true },
    { "all pages", AREA, UINT64_MAX, true },
    { "all pages, to shared", AREA, UINT64_MAX, false },
    { "a hole, to private", HOLE, 1, true },
    { "the end of memory, to private", 0, HOLE / PAGE, true },
};

int guest_main(void)
{
    write_pages(AREA, AREA + 2 * MIB, SEED);
    for (int i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct request *each = &refused[i];

        for (int j = 0; j < TIMES; j++) {
            int64_t ret = convert_pages(each->gpa, each->pages, each->private);

            if (ret != -EINVAL) {
                fail("%s: %x", each->what, ret);
            }
        }
        check_pages(AREA, AREA + 2 * MIB, SEED);
    }
    if (convert_pages(HOLE, 16, false)) {
        fail("what is no memory is shared already");
    }
    compare_states(AREA - MIB, AREA + 4 * MIB);
    ask_host("hidden %x %x %x", AREA, AREA + 2 * MIB, (uint64_t)SEED);
    return 0;
}
