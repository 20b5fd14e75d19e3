/* SPDX-License-Identifier: Apache-2.0 */
/* What a repository format implements; repo.c dispatches. Functions are those of repo.h. */
#ifndef VMBI_REPO_FORMAT_H
#define VMBI_REPO_FORMAT_H

#include "repo/repo.h"

typedef struct vmbi_repo_format {
    const char *name;
    vmb_code (*init)(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err);
    vmb_code (*open)(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err);
    void (*close)(vmbi_repo *r);
    void (*get_info)(const vmbi_repo *r, vmbi_repo_info *out);
    vmb_code (*lock)(vmbi_repo *r, vmbi_repo_lock_kind kind, int64_t wait_ns, vmb_error **err);
    void (*unlock)(vmbi_repo *r);
    vmb_code (*break_locks)(vmbi_repo *r, bool all, size_t *removed, vmb_error **err);
    vmb_code (*load_index)(vmbi_repo *r, vmb_error **err);
    vmb_code (*reset)(vmbi_repo *r, vmb_error **err);
    vmb_code (*renew_index)(vmbi_repo *r, vmb_error **err);
    void (*hash)(const vmbi_repo *r, const void *data, size_t len, vmbi_repo_id *out);
    void (*hash_pair)(const vmbi_repo *r, const void *a, size_t a_len, vmbi_repo_id *a_out,
                      const void *b, size_t b_len, vmbi_repo_id *b_out);
    bool (*has_blob)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id);
    bool (*blob_size)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                      uint64_t *size_bytes);
    vmb_code (*save_blob)(vmbi_repo *r, vmbi_blob_type type, const void *data, size_t len,
                          vmbi_repo_id *id, bool *known, vmb_error **err);
    vmb_code (*save_hashed)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                            const void *data, size_t len, bool *known, vmb_error **err);
    vmb_code (*load_blob)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id, vmbi_buf *out,
                          vmb_error **err);
    vmb_code (*load_blob_into)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id, void *out,
                               size_t cap, size_t *len, vmb_error **err);
    bool (*find_blob)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                      vmbi_blob_place *out);
    vmb_code (*load_run)(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *ids,
                         const vmbi_blob_place *places, size_t n, bool in_order,
                         vmbi_repo_blob_fn fn, void *user, vmb_error **err);
    vmb_code (*flush)(vmbi_repo *r, vmb_error **err);
    void (*get_stats)(vmbi_repo *r, vmbi_repo_stats *out);
    vmb_code (*snapshot_list)(vmbi_repo *r, vmbi_snapshot_fn fn, void *user, vmb_error **err);
    vmb_code (*snapshot_load)(vmbi_repo *r, const char *id, char full_id[VMBI_REPO_HEX_SIZE],
                              vmbi_json **out, vmb_error **err);
    vmb_code (*snapshot_save)(vmbi_repo *r, const vmbi_json *snapshot, char id[VMBI_REPO_HEX_SIZE],
                              vmb_error **err);
    vmb_code (*snapshot_delete)(vmbi_repo *r, const char *id, vmb_error **err);
    vmb_code (*key_list)(vmbi_repo *r, vmbi_repo_key_fn fn, void *user, vmb_error **err);
    vmb_code (*key_add)(vmbi_repo *r, const void *password, size_t len, char id[VMBI_REPO_HEX_SIZE],
                        vmb_error **err);
    vmb_code (*key_remove)(vmbi_repo *r, const char *id, vmb_error **err);
    vmb_code (*key_passwd)(vmbi_repo *r, const void *password, size_t len,
                           char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
    vmb_code (*check)(vmbi_repo *r, const vmbi_repo_check_options *o, vmbi_repo_finding_fn fn,
                      void *user, uint64_t *errors, vmb_error **err);
    vmb_code (*prune)(vmbi_repo *r, const vmbi_repo_prune_options *o, vmbi_repo_prune_stats *stats,
                      vmb_error **err);
} vmbi_repo_format;

/* The common head of every format's repository object. */
struct vmbi_repo {
    const vmbi_repo_format *format;
};

extern const vmbi_repo_format vmbi_repo_restic;

#endif
