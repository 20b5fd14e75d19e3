/* SPDX-License-Identifier: Apache-2.0 */
/* Making the record of a pod's volume, for podvolumes.c. */
#ifndef VMBI_CORE_PODVOLUMES_H
#define VMBI_CORE_PODVOLUMES_H

#include "core/backup.h"

typedef struct vmbi_pod_volume_parts {
    const vmbi_json *pod;
    const vmbi_json *volume; /* entry of its spec.volumes */
    const vmbi_json *claim;  /* NULL: none */
    const vmbi_json *pv;     /* NULL: none */
} vmbi_pod_volume_parts;

/* Asks the providers and makes the record; VMB_E_UNSUPPORTED when none takes the volume. */
vmb_code vmbi_pod_volume_new(vmbi_backup *b, const vmbi_pod_volume_parts *parts,
                             vmbi_pod_volume **out, vmb_error **err);

#endif
