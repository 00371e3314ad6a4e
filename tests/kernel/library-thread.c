/*
 * Preloaded into QEMU, this starts a thread as a library would, before there is
 * a VM, and lets it read QEMU's memory: addresses come from the socket whose
 * number is in the environment variable LIBRARY_SOCKET, words go back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "kvm-abi.h"
#include "next-ioctl.h"

static void *read_words(void *arg)
{
    int fd = *(int *)arg;
    uint64_t word;

    while (read(fd, &word, sizeof(word)) == sizeof(word)) {
        /* the address is one of QEMU's */
        word = *(volatile uint64_t *)(uintptr_t)word; /* see above */
        if (write(fd, &word, sizeof(word)) != sizeof(word)) {
            break;
        }
    }
    return NULL;
}

static int own_ioctl(int fd, unsigned long request, void *arg)
{
    static pthread_t thread;
    static int socket;

    if (request == KVM_CREATE_VM && !thread) {
        socket = atoi(getenv("LIBRARY_SOCKET"));
        pthread_create(&thread, NULL, read_words, &socket);
    }
    return next_ioctl(fd, request, arg);
}
