/*
 * Unit tests: states of the pages of a RAMBlock, and who may change them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "qemu/thread.h"
#include "system/memory.h"
#include "system/ramblock.h"

/* of memory, and of a huge one */
enum { PAGES = 1000, EACH = 8 };
enum { ROUNDS = 2000, THREADS = 4, LISTENERS = 3 };

/* What a listener is told, and of which part. */
typedef struct Listener {
    RamDiscardListener rdl;
    MemoryRegionSection section;
    bool refuses;
    int parts;
} Listener;

typedef struct Waiter {
    QemuThread thread;
    int id;                         /* of the thread, once it is about to ask */
    int place;
} Waiter;

static int served;

static void *take_turn(void *opaque)
{
    Waiter *waiter = opaque;

    qatomic_set(&waiter->id, qemu_get_thread_id());
    ram_block_attributes_lock();
    waiter->place = served++;
    ram_block_attributes_unlock();
    return NULL;
}

/* From then on, nothing but the lock can make it sleep. */
static void await_sleep(Waiter *waiter)
{
    g_autofree char *path = NULL;
    int id;

    while (!(id = qatomic_read(&waiter->id))) {
        g_thread_yield();
    }
    path = g_strdup_printf("/proc/self/task/%d/stat", id);
    for (bool sleeps = false; !sleeps; ) {
        g_autofree char *stat = NULL;

        if (!g_file_get_contents(path, &stat, NULL, NULL)) {
            /* It has ended. */
            return;
        }
        sleeps = strstr(stat, ") S ");
        g_thread_yield();
    }
}

/* Who lets go of the lock gets it again after those who wait. */
static void test_turns(void)
{
    Waiter waiters[THREADS] = {};

    served = 0;
    ram_block_attributes_lock();
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_create(&waiters[i].thread, "waiter", take_turn,
                           &waiters[i], QEMU_THREAD_JOINABLE);
        await_sleep(&waiters[i]);
    }
    ram_block_attributes_unlock();
    ram_block_attributes_lock();
    g_assert_cmpint(served, ==, THREADS);
    ram_block_attributes_unlock();
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_join(&waiters[i].thread);
        g_assert_cmpint(waiters[i].place, ==, i);
    }
}

static void *count(void *opaque)
{
    for (int i = 0; i < ROUNDS; i++) {
        ram_block_attributes_lock();
        ++*(int *)opaque;
        ram_block_attributes_unlock();
    }
    return NULL;
}

static void test_exclusion(void)
{
    QemuThread threads[THREADS];
    int counter = 0;

    for (int i = 0; i < THREADS; i++) {
        qemu_thread_create(&threads[i], "count", count, &counter,
                           QEMU_THREAD_JOINABLE);
    }
    for (int i = 0; i < THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    g_assert_cmpint(counter, ==, THREADS * ROUNDS);
}

static unsigned long whole_pages(const RamBlockAttributes *attr)
{
    unsigned long whole = 0;

    for (int i = 0; i < PAGES; i += EACH) {
        whole += find_next_bit(attr->bitmap, i + EACH, i) == i + EACH;
    }
    return whole;
}

static void test_count(void)
{
    const uint64_t page = qemu_real_host_page_size();
    RAMBlock rb = { .page_size = EACH * page };
    RamBlockAttributes attr = {
        .ram_block = &rb, .bitmap_size = PAGES, .bitmap = bitmap_new(PAGES),
        .nr_shared_in = g_new0(uint32_t, PAGES / EACH),
        .nr_whole = PAGES / EACH,
    };

    for (int i = 0; i < ROUNDS; i++) {
        int first = g_test_rand_int_range(0, PAGES);
        int last = g_test_rand_int_range(first, MIN(PAGES, first + 3 * EACH));

        ram_block_attributes_set(&attr, first * page,
                                 (last - first + 1) * page, g_test_rand_bit());
        g_assert_cmpuint(attr.nr_shared, ==,
                         bitmap_count_one(attr.bitmap, PAGES));
        g_assert_cmpuint(attr.nr_whole, ==, whole_pages(&attr));
    }
    g_free(attr.nr_shared_in);
    g_free(attr.bitmap);
}

static int populate(RamDiscardListener *rdl, MemoryRegionSection *section)
{
    Listener *listener = container_of(rdl, Listener, rdl);

    if (listener->refuses) {
        return -ENOMEM;
    }
    listener->parts++;
    return 0;
}

static void discard(RamDiscardListener *rdl, MemoryRegionSection *section)
{
    container_of(rdl, Listener, rdl)->parts--;
}

/* If one refuses a part, none has it. */
static void test_refused(void)
{
    RamBlockAttributes attr = {};
    Listener listeners[LISTENERS] = {};

    for (int i = 0; i < LISTENERS; i++) {
        Listener *each = &listeners[i];

        each->section.size = int128_one();
        each->rdl.section = &each->section;
        each->rdl.notify_populate = populate;
        each->rdl.notify_discard = discard;
        QLIST_INSERT_HEAD(&attr.rdl_list, &each->rdl, next);
    }
    g_assert_cmpint(ram_block_attributes_notify_populate(&attr, 0, 1), ==, 0);
    for (int i = 0; i < LISTENERS; i++) {
        g_assert_cmpint(listeners[i].parts, ==, 1);
    }
    for (int refusing = 0; refusing < LISTENERS; refusing++) {
        listeners[refusing].refuses = true;
        g_assert_cmpint(ram_block_attributes_notify_populate(&attr, 0, 1), ==,
                        -ENOMEM);
        listeners[refusing].refuses = false;
        for (int i = 0; i < LISTENERS; i++) {
            g_assert_cmpint(listeners[i].parts, ==, 1);
        }
    }
    /* What they get again, the others get. */
    listeners[1].refuses = true;
    g_assert_cmpint(ram_block_attributes_notify_restore(&attr, 0, 1), ==,
                    -ENOMEM);
    for (int i = 0; i < LISTENERS; i++) {
        g_assert_cmpint(listeners[i].parts, ==, i == 1 ? 1 : 2);
        listeners[i].parts = 1;
    }
    attr.loading = true;
    g_assert_cmpint(ram_block_attributes_notify_populate(&attr, 0, 1), ==, 0);
    g_assert_cmpint(ram_block_attributes_notify_restore(&attr, 0, 1), ==, 0);
    ram_block_attributes_notify_discard(&attr, 0, 1);
    attr.loading = false;
    ram_block_attributes_notify_discard(&attr, 0, 1);
    for (int i = 0; i < LISTENERS; i++) {
        g_assert_cmpint(listeners[i].parts, ==, 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ram-block-states/turns", test_turns);
    g_test_add_func("/ram-block-states/exclusion", test_exclusion);
    g_test_add_func("/ram-block-states/count", test_count);
    g_test_add_func("/ram-block-states/refused", test_refused);
    return g_test_run();
}
