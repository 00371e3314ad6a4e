/*
 * What the host says about its memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_HOST_MEMINFO_H
#define QEMU_HOST_MEMINFO_H

#define HOST_MEMINFO "/proc/meminfo"
#define HOST_HUGEPAGES "/sys/kernel/mm/hugepages"

/**
 * host_meminfo_parse: look up a field in the text of /proc/meminfo
 * @text: lines of "Name:   number kB", as proc_meminfo(5) describes them
 * @field: the name, without its colon
 * @bytes: set to the value, in bytes, on success only
 *
 * Return: true if the field is there and is a number of kB.
 */
bool host_meminfo_parse(const char *text, const char *field, uint64_t *bytes);

/**
 * host_meminfo: look up a field in the host's /proc/meminfo
 * @field: the name, without its colon
 * @bytes: set to the value, in bytes, on success only
 *
 * Return: true on success, false if the host does not say.
 */
bool host_meminfo(const char *field, uint64_t *bytes);

/**
 * host_memory_available: how much can be allocated before the OOM killer comes
 * @bytes: set to an estimate, in bytes, on success only
 *
 * This is for memory that itself cannot be swapped out.  Other memory can, to
 * make room, so free swap space counts.
 *
 * Return: true on success, false if the host does not say.
 */
bool host_memory_available(uint64_t *bytes);

/**
 * host_node_memory_available: how much of it one NUMA node has
 * @node: number of the node
 * @bytes: set to an estimate, in bytes and without swap space, on success only
 *
 * Return: true on success, false if the host does not say.
 */
bool host_node_memory_available(int node, uint64_t *bytes);

/**
 * host_hugepages_free: how much in huge pages can be reserved
 * @dir: HOST_HUGEPAGES
 * @page_size: size of the huge pages, in bytes
 * @bytes: set to the size of all that are free and not reserved, in bytes, on
 *     success only
 *
 * Return: true on success, false if the host does not say.
 */
bool host_hugepages_free(const char *dir, uint64_t page_size, uint64_t *bytes);

/**
 * host_node_hugepages_free: how much a NUMA node has in free huge pages
 * @node: number of the node
 * @page_size: size of the huge pages, in bytes
 * @bytes: set to the size of all that are free, in bytes, on success only
 *
 * Some of them may be reserved, of which the host doesn't say on which node.
 *
 * Return: true on success, false if the host does not say, for example because
 *     it has no huge pages of this size.
 */
bool host_node_hugepages_free(int node, uint64_t page_size, uint64_t *bytes);

/**
 * host_hugepage_sizes: the huge page sizes that the host has
 * @dir: HOST_HUGEPAGES, with one entry "hugepages-<number>kB" for each size
 *
 * Return: a new array of uint64_t, sizes in bytes, in ascending order; empty if
 *     the host has no huge pages.
 */
GArray *host_hugepage_sizes(const char *dir);

#endif
