/*
 * Host memory backend: a KVM guest_memfd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "qemu/memfd.h"
#include "qemu/module.h"
#include "hw/boards.h"
#include "system/kvm-guest-memfd.h"
#include "system/ram-conversion.h"
#include "hostmem-guest-memfd.h"
#include "trace.h"

bool guest_memfd_backend_has_two_backings(HostMemoryBackend *backend)
{
    return backend->guest_memfd && !machine_converts_in_place(current_machine);
}

/* Returns a file descriptor, or a negative number with @errp set. */
static int create_file(HostMemoryBackend *backend, uint64_t page_size,
                       Error **errp)
{
    HostMemoryBackendGuestMemfd *m = MEMORY_BACKEND_GUEST_MEMFD(backend);

    if (guest_memfd_backend_has_two_backings(backend)) {
        return qemu_memfd_create(TYPE_MEMORY_BACKEND_GUEST_MEMFD, backend->size,
                                 m->hugetlb, m->hugetlb ? page_size : 0, 0,
                                 errp);
    }
    return kvm_create_shared_guest_memfd(backend->size, page_size, errp);
}

static uint32_t ram_flags(HostMemoryBackend *backend)
{
    const bool two = guest_memfd_backend_has_two_backings(backend);

    return RAM_SHARED | (two ? 0 : RAM_FD_IS_GUEST_MEMFD) |
           (backend->reserve ? 0 : RAM_NORESERVE);
}

/*
 * The kernel reserves the huge pages of a memfd when QEMU maps it.  Nobody
 * tells but by the error's text why memory cannot be mapped.
 */
static void hint_at_map_failure(HostMemoryBackend *backend, uint64_t page_size,
                                Error **errp)
{
    if (!strstr(error_get_pretty(*errp), strerror(ENOMEM))) {
        return;
    }
    if (MEMORY_BACKEND_GUEST_MEMFD(backend)->hugetlb &&
        guest_memfd_backend_has_two_backings(backend)) {
        guest_memfd_backend_hint_at_pool(backend, page_size, errp);
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
            guest_memfd_backend_hint_at_pool(backend, page_size, errp);
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

    if (!guest_memfd_backend_check(backend, &page_size, errp)) {
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

static void get_dma_extent_max(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    visit_type_size(v, name, &MEMORY_BACKEND_GUEST_MEMFD(obj)->dma_extent_max,
                    errp);
}

static void set_dma_extent_max(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *size = NULL;
    uint64_t value;

    if (!check_changeable(obj, name, errp) ||
        !visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!is_power_of_2(value) || value < qemu_real_host_page_size()) {
        size = size_to_str(value);
        error_setg(errp, REFUSES "it is not a power of two that is at least a "
                   "page of the host", name, size);
        error_append_hint(errp, "Leave '%s' out to get 8M.\n", name);
        return;
    }
    MEMORY_BACKEND_GUEST_MEMFD(obj)->dma_extent_max = value;
}

static void guest_memfd_backend_instance_init(Object *obj)
{
    MEMORY_BACKEND(obj)->share = true;
    MEMORY_BACKEND_GUEST_MEMFD(obj)->dma_extent_max =
        RAM_CONVERSION_STEP_MAPPED;
}

static void guest_memfd_backend_finalize(Object *obj)
{
#ifdef CONFIG_NUMA
    guest_memfd_backend_stop_move(MEMORY_BACKEND_GUEST_MEMFD(obj));
#endif
}

static void guest_memfd_backend_class_init(ObjectClass *oc, const void *data)
{
    HostMemoryBackendClass *bc = MEMORY_BACKEND_CLASS(oc);

    bc->alloc = guest_memfd_backend_alloc;
    bc->prealloc = guest_memfd_backend_prealloc;
#ifdef CONFIG_NUMA
    bc->bind = guest_memfd_backend_bind;
#endif
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
    object_class_property_add(oc, "dma-extent-max", "size", get_dma_extent_max,
                              set_dma_extent_max, NULL, NULL);
    object_class_property_set_description(oc, "dma-extent-max",
                                          "How much shared memory devices get"
                                          " in one mapping, if other memory is"
                                          " private (default: 8M)");
}

static const TypeInfo guest_memfd_backend_types[] = {
    {
        .name = TYPE_MEMORY_BACKEND_GUEST_MEMFD,
        .parent = TYPE_MEMORY_BACKEND,
        .instance_size = sizeof(HostMemoryBackendGuestMemfd),
        .instance_init = guest_memfd_backend_instance_init,
        .instance_finalize = guest_memfd_backend_finalize,
        .class_init = guest_memfd_backend_class_init,
    },
};

DEFINE_TYPES(guest_memfd_backend_types)
