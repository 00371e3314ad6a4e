/*
 * Test of memory on its way through a socket when its file is closed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "files.h"
#include "huge.h"
#include "pool.h"
#include "race.h"
#include "tests.h"

enum { ROUNDS = 50 };

/* The two ends of a TCP connection over the loopback device. */
static void connect_pair(int end[2])
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof(address);
    int server = socket(AF_INET, SOCK_STREAM, 0);

    end[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (void *)&address, size) || listen(server, 1) ||
        getsockname(server, (void *)&address, &size) ||
        connect(end[0], (void *)&address, size)) {
        bail_out("a connection: %s", strerror(errno));
    }
    end[1] = accept(server, NULL, NULL);
    close(server);
}

/* Sends what a pipe holds itself, not a copy. */
static bool send_pipe(int to, int from)
{
    bool sent = splice(from, NULL, to, NULL, PAGE, 0) == PAGE;

    close(from);
    return sent;
}

static bool send_page(int to, void *address)
{
    struct iovec vector = { address, PAGE };
    int ends[2];
    bool full = !pipe(ends) && vmsplice(ends[1], &vector, 1, 0) == PAGE;

    close(ends[1]);
    return full && send_pipe(to, ends[0]);
}

/* A page that only the pipe has had. */
static bool send_copy(int to, const void *data)
{
    int ends[2];
    bool full = !pipe(ends) && write(ends[1], data, PAGE) == PAGE;

    close(ends[1]);
    return full && send_pipe(to, ends[0]);
}

/* How many bytes of what has come can be mapped; others are to be read. */
static ssize_t map_received(int end, void *map)
{
    struct tcp_zerocopy_receive zc = {
        .address = (uintptr_t)map,
        .length = PAGE,
    };
    socklen_t size = sizeof(zc);

    return getsockopt(end, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &size) ?
           -errno : (ssize_t)zc.length;
}

/*
 * A receiver may map pages that are no part of something, which those of a huge
 * page on loan are, as long as somebody has one.
 */
static void *receiver(void *arg)
{
    int end = (intptr_t)arg;
    void *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, end, 0);

    check(map != MAP_FAILED);
    while (!race_over() && check(map_received(end, map) == 0)) {
        race_count(&race.reads);
    }
    munmap(map, PAGE);
    return NULL;
}

/* But for pages that may be mapped, this would see it. */
static void check_receiver(void)
{
    char data[PAGE] = "x";
    char *map;
    int end[2];

    connect_pair(end);
    map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, end[1], 0);
    check(send_copy(end[0], data));
    check(map_received(end[1], map) == PAGE && *map == 'x');
    munmap(map, PAGE);
    close(end[0]);
    close(end[1]);
}

void test_zerocopy(void)
{
    size_t n = hpages / 2 + 1;
    struct pool before;
    uint32_t got[PAGE / 4];
    int end[2], i;

    /* What was received is freed at once, and not by the sender's CPU. */
    check(write_string("/proc/sys/net/core/skb_defer_max", "0"));
    check_receiver();
    pool_read(&before);
    for (i = 0; i < ROUNDS && !tap_failed_checks; i++) {
        race_begin();
        huge_create(&race.mem, &race.vm, 1, 0);
        connect_pair(end);
        check(to_shared(&race.mem, n, 1) == 0);
        check(poke(page(&race.mem, n), 0x71 + i));
        check(send_page(end[0], page(&race.mem, n)));
        race_spawn(receiver, end[1]);
        race_await(&race.reads);
        mem_destroy(&race.mem);
        vm_destroy(&race.vm);
        race_stop();
        check(recv(end[1], got, PAGE, MSG_WAITALL) == PAGE);
        check(got[0] == 0x71 + (uint32_t)i, "0x%x", got[0]);
        close(end[0]);
        close(end[1]);
    }
    check(pool_await(&before));
}
