/*
 * Tests that report as TAP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdarg.h>
#include <stdlib.h>
#include "tap.h"

unsigned int tap_failed_checks;
static const char *skip_reason;

void bail_out(const char *fmt, ...)
{
    int e = errno;
    va_list ap;

    printf("Bail out! ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf(": %s\n", strerror(e));
    exit(1);
}

void tap_skip(const char *reason)
{
    skip_reason = reason;
}

static bool wanted(const char *name, char **names)
{
    if (!*names) {
        return true;
    }
    for (; *names; names++) {
        if (!strcmp(*names, name)) {
            return true;
        }
    }
    return false;
}

static bool known(const char *name, const struct test *tests, size_t nr_tests)
{
    size_t i;

    for (i = 0; i < nr_tests; i++) {
        if (!strcmp(tests[i].name, name)) {
            return true;
        }
    }
    return false;
}

int tap_run(const struct test *tests, size_t nr_tests, char **names)
{
    unsigned int nr_wanted = 0, nr = 0, failed = 0;
    size_t i;
    char **n;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (n = names; *n; n++) {
        if (!known(*n, tests, nr_tests)) {
            printf("Bail out! there is no test %s\n", *n);
            return 1;
        }
    }
    for (i = 0; i < nr_tests; i++) {
        nr_wanted += wanted(tests[i].name, names);
    }

    printf("TAP version 13\n1..%u\n", nr_wanted);
    for (i = 0; i < nr_tests; i++) {
        if (!wanted(tests[i].name, names)) {
            continue;
        }
        tap_failed_checks = 0;
        skip_reason = NULL;
        tests[i].run();
        printf("%sok %u %s%s%s\n", tap_failed_checks ? "not " : "", ++nr,
               tests[i].name, skip_reason ? " # SKIP " : "",
               skip_reason ?: "");
        failed += !!tap_failed_checks;
    }
    return failed ? 1 : 0;
}
