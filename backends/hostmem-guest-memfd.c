/*
 * Host memory backend: a KVM guest_memfd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/falloc.h>
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "qemu/thread.h"
#include "qemu/thread-context.h"
#include "hw/boards.h"
#include "system/host-meminfo.h"
#include "system/hostmem-private.h"
#include "system/kvm-guest-memfd.h"
#include "system/kvm.h"
#include "trace.h"

#ifdef CONFIG_NUMA
#include <numa.h>
#endif

OBJECT_DECLARE_SIMPLE_TYPE(HostMemoryBackendGuestMemfd,
                           MEMORY_BACKEND_GUEST_MEMFD)

struct HostMemoryBackendGuestMemfd {
    HostMemoryBackend parent_obj;

    bool hugetlb;
    uint64_t hugetlbsize;
};

#define REFUSES "property '%s' of " TYPE_MEMORY_BACKEND_GUEST_MEMFD \
                " doesn't take value '%s': "

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
static bool check_host_nodes(HostMemoryBackend *backend, Error **errp)
{
#ifdef CONFIG_NUMA
    ERRP_GUARD();
    int node = find_first_bit(backend->host_nodes, MAX_NODES);

    for (; node < MAX_NODES;
         node = find_next_bit(backend->host_nodes, MAX_NODES, node + 1)) {
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

static bool is_converted_in_place(HostMemoryBackend *backend)
{
    return backend->guest_memfd && machine_converts_in_place(current_machine);
}

static bool has_two_backings(HostMemoryBackend *backend)
{
    return backend->guest_memfd && !machine_converts_in_place(current_machine);
}

/* Returns a file descriptor, or a negative number with @errp set. */
static int create_file(HostMemoryBackend *backend, uint64_t page_size,
                       Error **errp)
{
    HostMemoryBackendGuestMemfd *m = MEMORY_BACKEND_GUEST_MEMFD(backend);

    if (has_two_backings(backend)) {
        return qemu_memfd_create(TYPE_MEMORY_BACKEND_GUEST_MEMFD, backend->size,
                                 m->hugetlb, m->hugetlb ? page_size : 0, 0,
                                 errp);
    }
    return kvm_create_shared_guest_memfd(backend->size, page_size, errp);
}

static uint32_t ram_flags(HostMemoryBackend *backend)
{
    return RAM_SHARED |
           (has_two_backings(backend) ? 0 : RAM_FD_IS_GUEST_MEMFD) |
           (backend->reserve ? 0 : RAM_NORESERVE);
}

/* Where enough huge pages are free it is a control group that has too few. */
static void hint_at_pool(uint64_t size, uint64_t page_size, Error **errp)
{
    g_autofree char *pages = option_size(page_size);
    uint64_t free;

    error_append_hint(errp, "Use a smaller 'size', or set more huge pages "
                      "aside: see /sys/kernel/mm/hugepages/.\n");
    if (host_hugepages_free(HOST_HUGEPAGES, page_size, &free) && free >= size) {
        error_append_hint(errp, "Enough of them are free there, so it may be "
                          "the limit of QEMU's control group: see "
                          "hugetlb.%sB.rsvd.max in /sys/fs/cgroup/.\n", pages);
    }
}

/* The kernel reserves the huge pages of a memfd when QEMU maps it. */
static void hint_at_map_failure(HostMemoryBackend *backend, uint64_t page_size,
                                Error **errp)
{
    if (MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb &&
        has_two_backings(backend)) {
        hint_at_pool(backend->size, page_size, errp);
    } else {
        error_append_hint(errp, "Use a smaller 'size'.\n");
    }
}

static bool create_memory(HostMemoryBackend *backend, const char *name,
                          uint64_t page_size, Error **errp)
{
    ERRP_GUARD();
    int fd = create_file(backend, page_size, errp);

    if (fd < 0) {
        if (fd == -ENOMEM && MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb) {
            hint_at_pool(backend->size, page_size, errp);
        }
        return false;
    }

    if (!memory_region_init_ram_from_fd(&backend->mr, OBJECT(backend), name,
                                        backend->size, page_size,
                                        ram_flags(backend), fd, 0, errp)) {
        hint_at_map_failure(backend, page_size, errp);
        close(fd);
        return false;
    }
    trace_hostmem_guest_memfd_create(name, backend->size, page_size, fd);
    return true;
}

static bool alloc_memory(HostMemoryBackend *backend, const char *name,
                         Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackendGuestMemfd *m = MEMORY_BACKEND_GUEST_MEMFD(backend);
    uint64_t page_size;

    if (!check_accelerator(backend, errp) ||
        !check_sharing(m, errp) ||
        !choose_page_size(m, &page_size, errp) ||
        !check_size(m, backend->size, page_size, errp) ||
        !check_host_nodes(backend, errp) ||
        !check_pool_of_nodes(backend, page_size, errp)) {
        return false;
    }

    if (!create_memory(backend, name, page_size, errp)) {
        g_autofree char *size = size_to_str(backend->size);
        g_autofree char *pages = size_to_str(page_size);

        error_prepend(errp, "cannot create " TYPE_MEMORY_BACKEND_GUEST_MEMFD
                      " with size '%s', hugetlb '%s', pages of %s: ", size,
                      m->hugetlb ? "on" : "off", pages);
        return false;
    }
    return true;
}

static bool guest_memfd_backend_alloc(HostMemoryBackend *backend, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *name = host_memory_backend_get_name(backend);

    if (!alloc_memory(backend, name, errp)) {
        trace_hostmem_guest_memfd_refuse(name, error_get_pretty(*errp));
        return false;
    }
    return true;
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

/*
 * The kernel can neither swap nor drop pages of a guest_memfd, so asking for
 * more than it can free ends with the OOM killer, not with an error.  If it has
 * no more huge pages the error doesn't say so.
 */
static bool check_available(HostMemoryBackend *backend, Error **errp)
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

/* What one thread allocates, in bytes. */
typedef struct Allocation {
    QemuThread thread;
    int fd;
    uint64_t offset;
    uint64_t size;
    int err;
} Allocation;

static void *allocate_range(void *opaque)
{
    Allocation *a = opaque;

    if (RETRY_ON_EINTR(fallocate(a->fd, FALLOC_FL_KEEP_SIZE, a->offset,
                                 a->size))) {
        a->err = errno;
    }
    trace_hostmem_guest_memfd_allocate(a->fd, a->offset, a->size, -a->err);
    return NULL;
}

static void start_allocation(HostMemoryBackend *backend, Allocation *a)
{
    static const char name[] = "allocate_pages";

    if (backend->prealloc_context) {
        thread_context_create_thread(backend->prealloc_context, &a->thread,
                                     name, allocate_range, a,
                                     QEMU_THREAD_JOINABLE);
    } else {
        qemu_thread_create(&a->thread, name, allocate_range, a,
                           QEMU_THREAD_JOINABLE);
    }
}

/* Pages that are private cannot be touched, but allocated. */
static bool allocate_file(HostMemoryBackend *backend, Error **errp)
{
    uint64_t page_size = qemu_ram_pagesize(backend->mr.ram_block);
    uint64_t pages = backend->size / page_size, first = 0;
    int threads = MIN(pages, MIN(backend->prealloc_threads,
                                 g_get_num_processors()));
    g_autofree Allocation *allocations = g_new0(Allocation, threads);
    int err = 0;

    for (int i = 0; i < threads; i++) {
        uint64_t end = pages * (i + 1) / threads;

        allocations[i].fd = memory_region_get_fd(&backend->mr);
        allocations[i].offset = first * page_size;
        allocations[i].size = (end - first) * page_size;
        first = end;
        start_allocation(backend, &allocations[i]);
    }
    for (int i = 0; i < threads; i++) {
        qemu_thread_join(&allocations[i].thread);
        err = err ?: allocations[i].err;
    }
    if (err) {
        error_setg_errno(errp, err, REFUSES "the memory cannot be allocated",
                         "prealloc", "on");
    }
    return !err;
}

static bool guest_memfd_backend_prealloc(HostMemoryBackend *backend,
                                         bool async, Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackendClass *parent =
        MEMORY_BACKEND_CLASS(object_class_by_name(TYPE_MEMORY_BACKEND));

    if (!check_available(backend, errp)) {
        trace_hostmem_guest_memfd_refuse(memory_region_name(&backend->mr),
                                         error_get_pretty(*errp));
        return false;
    }
    if (is_converted_in_place(backend)) {
        return allocate_file(backend, errp);
    }
    /*
     * At once, also at start-up: what the next backend may have depends on
     * what this one has taken.
     */
    return parent->prealloc(backend, false, errp);
}

static bool check_changeable(Object *obj, const char *name, Error **errp)
{
    ERRP_GUARD();

    if (host_memory_backend_mr_inited(MEMORY_BACKEND(obj))) {
        error_setg(errp, "property '%s' of " TYPE_MEMORY_BACKEND_GUEST_MEMFD
                   " cannot change any more: the memory exists", name);
        error_append_hint(errp, "Delete the object and create another.\n");
        return false;
    }
    return true;
}

static bool get_hugetlb(Object *obj, Error **errp)
{
    return MEMORY_BACKEND_GUEST_MEMFD(obj)->hugetlb;
}

static void set_hugetlb(Object *obj, bool value, Error **errp)
{
    if (check_changeable(obj, "hugetlb", errp)) {
        MEMORY_BACKEND_GUEST_MEMFD(obj)->hugetlb = value;
    }
}

static void get_hugetlbsize(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    visit_type_size(v, name, &MEMORY_BACKEND_GUEST_MEMFD(obj)->hugetlbsize,
                    errp);
}

static void set_hugetlbsize(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    ERRP_GUARD();
    uint64_t value;

    if (!check_changeable(obj, name, errp) ||
        !visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!value) {
        error_setg(errp, REFUSES "a page cannot be empty", name, "0");
        error_append_hint(errp, "Leave '%s' out to get the default size of "
                          "the host.\n", name);
        return;
    }
    MEMORY_BACKEND_GUEST_MEMFD(obj)->hugetlbsize = value;
}

static void guest_memfd_backend_instance_init(Object *obj)
{
    MEMORY_BACKEND(obj)->share = true;
}

static void guest_memfd_backend_class_init(ObjectClass *oc, const void *data)
{
    HostMemoryBackendClass *bc = MEMORY_BACKEND_CLASS(oc);

    bc->alloc = guest_memfd_backend_alloc;
    bc->prealloc = guest_memfd_backend_prealloc;
    /* KSM looks at anonymous memory only. */
    bc->unmergeable = true;

    object_class_property_add_bool(oc, "hugetlb", get_hugetlb, set_hugetlb);
    object_class_property_set_description(oc, "hugetlb",
                                          "Use huge pages, reserved at creation"
                                          " (needs a kernel that has them for"
                                          " guest_memfd)");
    object_class_property_add(oc, "hugetlbsize", "size", get_hugetlbsize,
                              set_hugetlbsize, NULL, NULL);
    object_class_property_set_description(oc, "hugetlbsize",
                                          "Huge page size, needs hugetlb=on"
                                          " (ex: 2M, 1G; default: that of the"
                                          " host)");
}

static const TypeInfo guest_memfd_backend_types[] = {
    {
        .name = TYPE_MEMORY_BACKEND_GUEST_MEMFD,
        .parent = TYPE_MEMORY_BACKEND,
        .instance_size = sizeof(HostMemoryBackendGuestMemfd),
        .instance_init = guest_memfd_backend_instance_init,
        .class_init = guest_memfd_backend_class_init,
    },
};

DEFINE_TYPES(guest_memfd_backend_types)
