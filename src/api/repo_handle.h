/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of vmb_repo, and the steps that every call on one takes. */
#ifndef VMBI_API_REPO_HANDLE_H
#define VMBI_API_REPO_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmbackup/repo.h>

#include "api/repo_options.h"
#include "base/cancel.h"
#include "base/job.h"
#include "core/context.h"
#include "core/events.h"
#include "repo/ops/snapshots.h"
#include "repo/repo.h"

struct vmb_repo {
    atomic_uint refs;                    /* the owner's, and one for each open disk */
    vmb_ctx *ctx;                        /* a reference */
    const vmbi_store_location *location; /* the context's */
    vmbi_cancel *cancel;
    vmb_job job; /* of all calls: hears cancel, logs to events and context */
    vmbi_repo *repo;
    char *prefix;
    char *hostname; /* as given, or this machine's */
    char *username; /* as given, or this process's; NULL: it has none */
    int64_t lock_wait_ns;
    bool no_lock;     /* asked for, or the location is read-only */
    atomic_bool busy; /* a call is in progress */

    pthread_mutex_t events_lock; /* held while the caller's function runs: never two at a time */
    vmbi_events events;          /* only fn, user and last_progress_ns are used */
    int64_t progress_total;      /* bytes of a restore as its snapshot tells; -1: not known */
    uint64_t stored_before;      /* bytes of new blobs when the call took its lock */

    /* Disks read beside other calls; what replaces the index waits for them. */
    pthread_rwlock_t index_lock;
    atomic_uint disks;     /* open */
    atomic_bool disk_lock; /* a lock is held for them; changed by who has `busy` only */
};

typedef enum vmbi_repoapi_need {
    VMBI_REPOAPI_READ,     /* the shared lock, unless locks are switched off */
    VMBI_REPOAPI_WRITE,    /* the shared lock */
    VMBI_REPOAPI_EXCLUSIVE /* nobody else */
} vmbi_repoapi_need;

/* Begins a call: VMB_E_ARG without repo, VMB_E_FORKED, VMB_E_CANCELLED, VMB_E_STATE inside of
 * another call. Every VMB_OK is followed by vmbi_repoapi_leave(). */
vmb_code vmbi_repoapi_enter(vmb_repo *repo, const char *function, vmb_error **err);
void vmbi_repoapi_leave(vmb_repo *repo);
/* Takes the lock for a call, and the index when it is needed. Undone by vmbi_repoapi_unlock(). */
vmb_code vmbi_repoapi_lock(vmb_repo *repo, vmbi_repoapi_need need, bool index, vmb_error **err);
void vmbi_repoapi_unlock(vmb_repo *repo);

/* Tells of a warning or finding: an event, and a line of the context's log. Any thread. */
void vmbi_repoapi_tell(vmb_repo *repo, int32_t level, const char *subject, const char *text);
/* The same in the shape of the warn functions of repo/: user is the vmb_repo. */
void vmbi_repoapi_warn(void *user, const char *path, const char *text);
/* Progress, at most 10 a second; the last one (done == total) always gets through. Any thread. */
void vmbi_repoapi_progress(vmb_repo *repo, int64_t done, int64_t total);

void vmbi_repoapi_unref(vmb_repo *repo);
/* For an open disk: a reference, and the shared lock beyond the end of the call. The lock is not
 * kept where the store is called by one thread at a time, because it must be refreshed. */
void vmbi_repoapi_hold(vmb_repo *repo);
void vmbi_repoapi_release(vmb_repo *repo);

/* Hands a document out as text and releases it; out may be NULL. */
vmb_code vmbi_repoapi_give(vmbi_json *doc, char **out, size_t *out_len, vmb_error **err);
vmb_code vmbi_repoapi_missing(const char *function, vmb_error **err);

/* ---- repo_parts.c ---- */

/* Which snapshots, as several options objects say it. */
typedef struct vmbi_repoapi_filter {
    vmbi_option_list snapshots, hosts, tags, paths;
} vmbi_repoapi_filter;
/* Rows of an options table for a struct with a member `filter`; without "snapshots". */
#define VMBI_REPOAPI_FILTER_FIELDS(type)                                                           \
    VMBI_OPTION(type, filter.hosts, "host", STRINGS, 0, 0),                                        \
        VMBI_OPTION(type, filter.tags, "tags", TAGS, 0, 0),                                        \
        VMBI_OPTION(type, filter.paths, "paths", STRINGS, 0, 0)
vmbi_snapshot_filter vmbi_repoapi_filter_of(const vmbi_repoapi_filter *f);
/* The snapshot of an ID, a start of one, or "latest" under the filter. */
vmb_code vmbi_repoapi_find(vmb_repo *repo, const char *snapshot, const vmbi_repoapi_filter *f,
                           vmbi_snapshot *out, vmb_error **err);
/* The host's name for a new snapshot. */
const char *vmbi_repoapi_host(vmb_repo *repo, const char *given);

/* What a call adds to the repository. */
typedef struct vmbi_repoapi_tally {
    vmb_repo *repo;
    vmbi_repo_stats before;
    int64_t start_ns;
} vmbi_repoapi_tally;
void vmbi_repoapi_tally_begin(vmbi_repoapi_tally *t, vmb_repo *repo);
/* The part of a backup's summary that is the same for files and disks; NULL: memory is out. */
vmbi_json *vmbi_repoapi_summary(const vmbi_repoapi_tally *t);

/* repo_settings.c: from the settings of init and open. */
typedef struct vmbi_repo_settings {
    const char *prefix;
    const char *password;
    const char *password_file;
    int64_t version;
    const char *compression;
    int64_t pack_mib;
    int64_t memory_mib;
    int64_t uploads;
    const char *hostname;
    const char *username;
    const char *key_hint;
    const char *polynomial;
    int64_t lock_wait_ns;
    bool no_lock;
    /* what they come to */
    char *secret; /* owned; the password, wiped at the end */
    size_t secret_len;
    vmbi_repo_compression mode;
    uint64_t polynomial_bits;
    vmbi_json *doc;
} vmbi_repo_settings;
vmb_code vmbi_repo_settings_read(const char *text, size_t len, vmbi_repo_settings *out,
                                 vmb_error **err);
void vmbi_repo_settings_done(vmbi_repo_settings *s);

#endif
