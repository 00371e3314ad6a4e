/*
 * Tests that report as TAP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TAP_H
#define TAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};

extern unsigned int tap_failed_checks;

/*
 * A check that fails is reported where it fails, and the test goes on as far as
 * it makes sense.  No more is learnt from the report after the first few.
 */
#define check(cond, ...) ({                                             \
    bool ok_ = (cond);                                                  \
    if (!ok_ && __atomic_fetch_add(&tap_failed_checks, 1,               \
                                   __ATOMIC_RELAXED) < 20) {            \
        int e_ = errno;                                                 \
        printf("# %s:%d: %s:", __FILE_NAME__, __LINE__, #cond);         \
        printf(" " __VA_ARGS__);                                        \
        printf(" (errno %d, %s)\n", e_, strerror(e_));                  \
        fflush(stdout);                                                 \
    }                                                                   \
    ok_;                                                                \
})

void __attribute__((format(printf, 1, 2), noreturn))
bail_out(const char *fmt, ...);

/* Says, from within a test, that it cannot run, and why. */
void tap_skip(const char *reason);

/* Runs the tests that are named, or all.  Returns the exit status. */
int tap_run(const struct test *tests, size_t nr_tests, char **names);

#endif
