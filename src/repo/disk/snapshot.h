/* SPDX-License-Identifier: Apache-2.0 */
/* The trees and the snapshot of a disk, and what of our own is kept in it for the next backup. */
#ifndef VMBI_REPO_DISK_SNAPSHOT_H
#define VMBI_REPO_DISK_SNAPSHOT_H

#include "repo/disk/disk.h"
#include "repo/tree/node.h"

/* Member "vmbackup" of the snapshot, which restic passes over. */
typedef struct vmbi_disk_mark {
    const char *source; /* name of the provider that the state is of */
    const char *state;  /* NULL: none */
    uint32_t chunk_bytes;
} vmbi_disk_mark;

/* Absolute path of the file; owned, NULL when memory is out. */
char *vmbi_disk_path(const vmbi_disk_save_options *o);
vmb_code vmbi_disk_check_options(const vmbi_disk_save_options *o, vmb_error **err);

/* Borrowed from the snapshot; false when it has none. */
bool vmbi_disk_mark_read(const vmbi_json *snapshot, vmbi_disk_mark *out);

/* Saves the folders above the file, and the snapshot. The node is taken over in every case. */
vmb_code vmbi_disk_snapshot_save(vmbi_repo *r, const vmbi_disk_save_options *o, vmbi_node *node,
                                 const char *parent_id, const vmbi_disk_mark *mark,
                                 char id[VMBI_REPO_HEX_SIZE], vmb_error **err);

#endif
