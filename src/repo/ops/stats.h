/* SPDX-License-Identifier: Apache-2.0 */
/* Counting what snapshots hold. */
#ifndef VMBI_REPO_OPS_STATS_H
#define VMBI_REPO_OPS_STATS_H

#include "base/job.h"
#include "repo/ops/snapshots.h"

typedef enum vmbi_stats_mode {
    VMBI_STATS_RESTORE_SIZE = 0,  /* what a restore of each snapshot writes; hard links once */
    VMBI_STATS_RAW_DATA = 1,      /* stored bytes of the blobs that the snapshots need */
    VMBI_STATS_FILES_BY_CONTENTS = 2 /* files of different content */
} vmbi_stats_mode;
/* "restore-size", "raw-data", "files-by-contents"; NULL: restore-size. VMB_E_ARG otherwise. */
vmb_code vmbi_stats_mode_parse(const char *text, vmbi_stats_mode *out, vmb_error **err);

typedef struct vmbi_ops_stats {
    uint64_t total_size;
    uint64_t total_file_count;
    uint64_t total_blob_count;        /* raw data only */
    uint64_t total_uncompressed_size; /* raw data only */
    uint64_t snapshots_count;
} vmbi_ops_stats;

/* Numbers as `restic stats` gives them. Needs the index. Memory for raw data: 21 to 43 bytes for
 * each blob in use; for the other modes as much for each file. */
vmb_code vmbi_stats(vmbi_repo *r, vmbi_stats_mode mode, const vmbi_snapshot_filter *f,
                    vmb_job *job, vmbi_ops_stats *out, vmb_error **err);
/* As `restic stats --json` prints it; owned; NULL when memory is out. */
vmbi_json *vmbi_ops_stats_json(vmbi_stats_mode mode, const vmbi_ops_stats *s);

#endif
