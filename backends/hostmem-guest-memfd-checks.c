/*
 * Host memory backend: a KVM guest_memfd, what is refused and why
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/host-meminfo.h"
#include "hw/boards.h"
#include "system/kvm.h"
#include "hostmem-guest-memfd.h"

#ifdef CONFIG_NUMA
#include <numa.h>
#endif

static bool check_accelerator(HostMemoryBackend *backend, Error **errp)
{
    ERRP_GUARD();

    if (!kvm_enabled()) {
        error_setg(errp, TYPE_MEMORY_BACKEND_GUEST_MEMFD " is memory of KVM, "
                   "but the accelerator is '%s'", current_accel_name());
        error_append_hint(errp, "Use -accel kvm, or memory-backend-memfd with "
                          "another accelerator.\n");
        return false;
    }
    return true;
}

static char *size_list(GArray *sizes)
{
    GString *list = g_string_new(NULL);

    for (int i = 0; i < sizes->len; i++) {
        g_autofree char *size = size_to_str(g_array_index(sizes, uint64_t, i));

        g_string_append_printf(list, "%s%s", i ? ", " : "", size);
    }
    return g_string_free(list, false);
}

static bool check_hugetlbsize(uint64_t wanted, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GArray) sizes = host_hugepage_sizes(HOST_HUGEPAGES);
    g_autofree char *size = size_to_str(wanted);
    g_autofree char *list = size_list(sizes);

    for (int i = 0; i < sizes->len; i++) {
        if (g_array_index(sizes, uint64_t, i) == wanted) {
            return true;
        }
    }
    error_setg(errp, REFUSES "the host has huge pages of %s", "hugetlbsize",
               size, sizes->len ? list : "no size");
    error_append_hint(errp, "Take one of them, or use hugetlb=off.\n");
    return false;
}

/* Sets @page_size to the size of the pages that the user wants. */
static bool choose_page_size(HostMemoryBackendGuestMemfd *m,
                             uint64_t *page_size, Error **errp)
{
    ERRP_GUARD();

    if (!m->hugetlb && m->hugetlbsize) {
        g_autofree char *size = size_to_str(m->hugetlbsize);

        error_setg(errp, REFUSES "'hugetlb' is off", "hugetlbsize", size);
        error_append_hint(errp, "Add hugetlb=on, or leave 'hugetlbsize' "
                          "out.\n");
        return false;
    }
    if (!m->hugetlb) {
        *page_size = qemu_real_host_page_size();
        return true;
    }
    if (m->hugetlbsize) {
        *page_size = m->hugetlbsize;
        return check_hugetlbsize(m->hugetlbsize, errp);
    }
    if (!host_meminfo("Hugepagesize", page_size)) {
        error_setg(errp, REFUSES "the host has no huge pages", "hugetlb", "on");
        error_append_hint(errp, "Its kernel was built without "
                          "CONFIG_HUGETLBFS; use hugetlb=off.\n");
        return false;
    }
    return true;
}

/* As it is written on command lines: 2M, 1G. */
static char *option_size(uint64_t size)
{
    int unit = ctz64(size) / 10;

    return g_strdup_printf("%" PRIu64 "%c", size >> unit * 10, "BKMGTPE"[unit]);
}

/* Offers the largest huge pages of which @size is a multiple. */
static void hint_at_hugetlbsize(uint64_t size, Error **errp)
{
    g_autoptr(GArray) sizes = host_hugepage_sizes(HOST_HUGEPAGES);

    for (int i = sizes->len - 1; i >= 0; i--) {
        uint64_t page_size = g_array_index(sizes, uint64_t, i);
        g_autofree char *value = option_size(page_size);

        if (QEMU_IS_ALIGNED(size, page_size)) {
            error_append_hint(errp, "Or use hugetlbsize=%s.\n", value);
            return;
        }
    }
}

static bool check_size(HostMemoryBackendGuestMemfd *m, uint64_t size,
                       uint64_t page_size, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *page_str = size_to_str(page_size);

    if (!QEMU_IS_ALIGNED(size, page_size)) {
        g_autofree char *size_str = g_strdup_printf("%" PRIu64, size);

        error_setg(errp, REFUSES "it is not a multiple of the page size %s",
                   "size", size_str, page_str);
        if (size <= UINT64_MAX - page_size) {
            error_append_hint(errp, "The next multiple is %" PRIu64 ".\n",
                              QEMU_ALIGN_UP(size, page_size));
        } else {
            error_append_hint(errp, "Use a smaller 'size'.\n");
        }
        if (m->hugetlb) {
            hint_at_hugetlbsize(size, errp);
        }
        return false;
    }
    return true;
}

/* mbind() ignores nodes that are missing as long as one of the list exists. */
bool guest_memfd_backend_check_nodes(const unsigned long *nodes, Error **errp)
{
#ifdef CONFIG_NUMA
    ERRP_GUARD();
    int node = find_first_bit(nodes, MAX_NODES);

    for (; node < MAX_NODES;
         node = find_next_bit(nodes, MAX_NODES, node + 1)) {
        g_autofree char *value = g_strdup_printf("%d", node);

        if (numa_node_size64(node, NULL) > 0) {
            continue;
        }
        error_setg(errp, REFUSES "the host has no memory on such a node",
                   "host-nodes", value);
        error_append_hint(errp, "The nodes with memory are in "
                          "/sys/devices/system/node/has_memory.\n");
        return false;
    }
#endif
    return true;
}

static bool check_sharing(HostMemoryBackendGuestMemfd *m, Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackend *backend = MEMORY_BACKEND(m);

    if (!backend->share) {
        error_setg(errp, REFUSES "a guest_memfd can be mapped shared only",
                   "share", "off");
        error_append_hint(errp, "Leave 'share' out, its default is 'on'.\n");
        return false;
    }
    if (m->hugetlb && !backend->reserve) {
        error_setg(errp, REFUSES "the kernel reserves the huge pages of a "
                   "guest_memfd when it creates it", "reserve", "off");
        error_append_hint(errp, "Leave 'reserve' out, or use hugetlb=off.\n");
        return false;
    }
    return true;
}

/* What a node has of the kind of pages that the backend consists of. */
static bool node_available(HostMemoryBackend *backend, uint64_t page_size,
                           int node, uint64_t *bytes)
{
    if (MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb) {
        return host_node_hugepages_free(node, page_size, bytes);
    }
    return host_node_memory_available(node, bytes);
}

/* Memory that is bound to nodes cannot come from others. */
static bool nodes_available(HostMemoryBackend *backend, uint64_t page_size,
                            uint64_t *bytes)
{
    int node = find_first_bit(backend->host_nodes, MAX_NODES);
    uint64_t swap = 0, available, sum = 0;

    if (backend->policy != HOST_MEM_POLICY_BIND || node >= MAX_NODES) {
        return false;
    }
    if (!MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb &&
        !host_meminfo("SwapFree", &swap)) {
        return false;
    }
    while (node < MAX_NODES) {
        if (!node_available(backend, page_size, node, &available)) {
            return false;
        }
        sum += available;
        node = find_next_bit(backend->host_nodes, MAX_NODES, node + 1);
    }
    *bytes = sum + swap;
    return true;
}

/*
 * The kernel reserves huge pages, but not on certain nodes: a guest that finds
 * none left there ends.
 */
static bool check_pool_of_nodes(HostMemoryBackend *backend, uint64_t page_size,
                                Error **errp)
{
    ERRP_GUARD();
    g_autofree char *size = size_to_str(backend->size);
    g_autofree char *bound = NULL;
    uint64_t available;

    if (!MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb ||
        !nodes_available(backend, page_size, &available) ||
        backend->size <= available) {
        return true;
    }
    bound = size_to_str(available);
    error_setg(errp, REFUSES "'size' is %s, but the 'host-nodes' have only %s "
               "of free huge pages", "policy", "bind", size, bound);
    error_append_hint(errp, "Use a smaller 'size', or set more huge pages "
                      "aside on these nodes: see /sys/devices/system/node/.\n");
    return false;
}

bool guest_memfd_backend_check(HostMemoryBackend *backend, uint64_t *page_size,
                               Error **errp)
{
    HostMemoryBackendGuestMemfd *m = MEMORY_BACKEND_GUEST_MEMFD(backend);

    return check_accelerator(backend, errp) &&
           check_sharing(m, errp) &&
           choose_page_size(m, page_size, errp) &&
           check_size(m, backend->size, *page_size, errp) &&
           guest_memfd_backend_check_nodes(backend->host_nodes, errp) &&
           check_pool_of_nodes(backend, *page_size, errp);
}

void guest_memfd_backend_hint_at_pool(HostMemoryBackend *backend,
                                      uint64_t page_size, Error **errp)
{
    g_autofree char *pages = option_size(page_size);
    uint64_t free;

    error_append_hint(errp, "Use a smaller 'size', or set more huge pages "
                      "aside: see /sys/kernel/mm/hugepages/.\n");
    /* Where enough of them are free it is a control group that has too few. */
    if (host_hugepages_free(HOST_HUGEPAGES, page_size, &free) &&
        free >= backend->size) {
        error_append_hint(errp, "Enough of them are free there, so it may be "
                          "the limit of QEMU's control group: see "
                          "hugetlb.%sB.rsvd.max in /sys/fs/cgroup/.\n", pages);
    }
}

/* The host has set aside huge pages already, but not on certain nodes. */
static bool host_available(HostMemoryBackend *backend, uint64_t *bytes)
{
    if (MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb) {
        *bytes = UINT64_MAX;
        return true;
    }
    return host_memory_available(bytes);
}

bool guest_memfd_backend_check_available(HostMemoryBackend *backend,
                                         Error **errp)
{
    ERRP_GUARD();
    g_autofree char *size = size_to_str(backend->size);
    g_autofree char *bound = NULL;
    uint64_t host, nodes;

    if (!host_available(backend, &host)) {
        return true;
    }
    if (!nodes_available(backend, qemu_ram_pagesize(backend->mr.ram_block),
                         &nodes)) {
        nodes = host;
    }
    if (backend->size <= MIN(host, nodes)) {
        return true;
    }

    bound = size_to_str(MIN(host, nodes));
    error_setg(errp, REFUSES "'size' is %s, but %s only %s available",
               "prealloc", "on", size,
               nodes < host ? "the 'host-nodes' have" : "the host has", bound);
    error_append_hint(errp, "Use a smaller 'size', or prealloc=off to allocate "
                      "what the guest touches.\n");
    return false;
}
