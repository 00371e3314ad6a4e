/*
 * Private memory of a guest, of which devices get what is shared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_GUEST_MEMFD_H
#define HW_VFIO_GUEST_MEMFD_H

#include "hw/vfio/vfio-container.h"
#include "hw/vfio/vfio-device.h"

/**
 * vfio_guest_memfd_init_listener: listen to conversions, if this is about them
 * @vrdl: listener for a section of memory
 *
 * Return: whether @vrdl's memory can be private; if not, nothing was done
 */
bool vfio_guest_memfd_init_listener(VFIORamDiscardListener *vrdl);

/**
 * vfio_guest_memfd_map_iova: map what a guest's IOMMU translates to
 * @bcontainer: of devices behind that IOMMU
 * @iova: address for devices, a multiple of the host's page size
 * @size: in bytes, likewise
 * @gpa: guest-physical address that is there
 * @readonly: whether devices must not write
 *
 * If that is RAM which can be private, devices have what is shared of it from
 * then on.
 *
 * Context: BQL
 *
 * Return: false if it is not, and nothing was done
 */
bool vfio_guest_memfd_map_iova(VFIOContainer *bcontainer, hwaddr iova,
                               uint64_t size, hwaddr gpa, bool readonly);

/**
 * vfio_guest_memfd_unmap_iova: undo vfio_guest_memfd_map_iova(), or a part
 * @bcontainer: of devices behind that IOMMU
 * @iova: first address for devices
 * @last: last address
 *
 * Context: BQL
 */
void vfio_guest_memfd_unmap_iova(VFIOContainer *bcontainer, hwaddr iova,
                                 hwaddr last);

/**
 * vfio_guest_memfd_explain_limit: say why a container has too few mappings
 * @bcontainer: container
 * @errp: set if devices are to have memory that can be private
 *
 * Context: BQL
 *
 * Return: whether @errp was set
 */
bool vfio_guest_memfd_explain_limit(const VFIOContainer *bcontainer,
                                    Error **errp);

/**
 * vfio_guest_memfd_prepare_write: see whether a device may begin to use memory
 * @vbasedev: PCI device
 * @addr: where in its configuration space the guest will write
 * @val: what
 * @len: how many bytes
 *
 * If no other device of its container may yet, and more than half of the
 * mappings are taken that type1 has for it, some are joined that lie side by
 * side.  Later it would be in the devices' way.
 *
 * Context: BQL
 */
void vfio_guest_memfd_prepare_write(VFIODevice *vbasedev, uint32_t addr,
                                    uint32_t val, int len);

struct IOMMUFDBackend;

/**
 * vfio_guest_memfd_allow_cuts: let parts be unmapped of what one call maps
 * @be: iommufd
 * @ioas_id: of it, an address space that has nothing mapped
 *
 * Only for machines with private memory: it costs the IOMMU its huge pages.
 *
 * Return: whether the kernel lets it
 */
bool vfio_guest_memfd_allow_cuts(struct IOMMUFDBackend *be, uint32_t ioas_id);

/**
 * vfio_guest_memfd_cut: unmap all or a part of what calls have mapped
 * @be: iommufd
 * @ioas_id: an address space for which vfio_guest_memfd_allow_cuts() was true
 * @iova: in bytes, a multiple of the host's page size
 * @size: likewise
 *
 * Context: any thread
 *
 * Return: 0, or a negative errno, and all is mapped still
 */
int vfio_guest_memfd_cut(struct IOMMUFDBackend *be, uint32_t ioas_id,
                         uint64_t iova, uint64_t size);

#endif
