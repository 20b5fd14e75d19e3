/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of the handles that providers receive. The public functions on them are in api/;
 * core and tests build them. They live on the builder's stack for the time of a call. */
#ifndef VMBI_BASE_JOB_H
#define VMBI_BASE_JOB_H

#include <vmbackup/provider.h>
#include <vmbackup/volume.h>

#include "base/cancel.h"
#include "base/compiler.h"

struct vmb_job {
    vmbi_limits limits;
    void (*log)(void *log_user, int32_t level, const char *msg); /* NULL: dropped */
    void *log_user;
    vmb_cluster *cluster;    /* NULL: none */
    const char *backup_name; /* NULL: "" */
    const char *backup_json; /* NULL: none */
    const vmb_store_provider *store; /* of the run's location; NULL: none */
    const char *store_prefix;        /* in that store, without slashes at its ends; NULL: "" */
};

struct vmb_progress {
    void (*update)(void *user, int64_t done_bytes, int64_t total_bytes);
    void *user;
};

struct vmb_sink {
    vmb_code (*write)(void *user, const void *data, size_t len, vmb_error **err);
    void *user;
};

struct vmb_item_sink {
    vmb_code (*push)(void *user, const char *json, size_t len, vmb_error **err);
    void *user;
};

struct vmb_watch_sink {
    vmb_code (*push)(void *user, const char *type, const char *json, size_t len, vmb_error **err);
    void *user;
};

struct vmb_key_sink {
    vmb_code (*push)(void *user, const char *key, int64_t size_bytes, int64_t mtime_unix_ns,
                     int32_t is_prefix, vmb_error **err);
    void *user;
};

struct vmb_extent_sink {
    vmb_code (*push)(void *user, int64_t offset_bytes, int64_t length_bytes, int32_t kind,
                     vmb_error **err);
    void *user;
};

/* A sink that appends to a vmbi_buf; the buffer's ceiling gives VMB_E_LIMIT. */
struct vmbi_buf;
struct vmb_sink vmbi_sink_to_buf(struct vmbi_buf *b);

#endif
