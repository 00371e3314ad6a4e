/*
 * A process that looks at memory when it is asked to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "child.h"
#include "tap.h"

/* Later children have the pipe open, too, so closing it would end nothing. */
#define NO_MORE ((size_t)-1)

static int64_t peek_and_count(char *addr)
{
    int64_t value = peek(addr);

    if (value != -1) {
        poke(addr, value + 1);
    }
    return value;
}

/* Returns an exit status. */
static int answer(struct mem *mem, int from, int to)
{
    int64_t value;
    size_t n;

    while (read(from, &n, sizeof(n)) == sizeof(n)) {
        if (n == NO_MORE) {
            return 0;
        }
        value = peek_and_count(page(mem, n));
        if (write(to, &value, sizeof(value)) != sizeof(value)) {
            break;
        }
    }
    return 1;
}

static void map_anew(struct mem *mem)
{
    munmap(mem->map, mem->npages * PAGE);
    mem->map = mmap(NULL, mem->npages * PAGE, PROT_READ | PROT_WRITE,
                    MAP_SHARED, mem->fd, 0);
    if (mem->map == MAP_FAILED) {
        _exit(1);
    }
}

void child_start(struct child *c, struct mem *mem, bool maps)
{
    int to[2], from[2];

    /* The child must not print what waits to be printed here. */
    fflush(stdout);
    if (pipe(to) || pipe(from)) {
        bail_out("pipe");
    }
    c->pid = fork();
    if (!c->pid) {
        struct mem own = *mem;

        close(to[1]);
        close(from[0]);
        if (maps) {
            map_anew(&own);
        }
        _exit(answer(&own, to[0], from[1]));
    }
    close(to[0]);
    close(from[1]);
    c->to = to[1];
    c->from = from[0];
}

int64_t child_peek(struct child *c, size_t n)
{
    int64_t answer;

    if (write(c->to, &n, sizeof(n)) != sizeof(n) ||
        read(c->from, &answer, sizeof(answer)) != sizeof(answer)) {
        return -3;
    }
    return answer;
}

bool child_end(struct child *c)
{
    const size_t no_more = NO_MORE;
    int status;

    if (write(c->to, &no_more, sizeof(no_more)) != sizeof(no_more)) {
        return false;
    }
    close(c->to);
    close(c->from);
    return waitpid(c->pid, &status, 0) == c->pid && status == 0;
}
