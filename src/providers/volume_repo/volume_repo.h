/* SPDX-License-Identifier: Apache-2.0 */
/* The provider's own state, and what its files share. */
#ifndef VMBI_PROVIDERS_VOLUME_REPO_H
#define VMBI_PROVIDERS_VOLUME_REPO_H

#include <pthread.h>

#include <vmbackup/volume.h>

#include "codec/json.h"
#include "repo/repo.h"

typedef struct vmbi_volrepo {
    char *password;      /* NULL: passwordFile or Velero's rule */
    char *password_file; /* NULL: none */
    char *host_pods;     /* the kubelet's folder of pods, on this machine */
    char *node;          /* "": pods of every node */
    char *ns;            /* of the Secret with the password; "": that of the Backup */
    vmbi_repo_compression compression;
    int64_t lock_wait_ns;
    size_t threads;        /* of one volume; 0: the repository's choice */
    pthread_mutex_t making; /* held while a repository may be made: two volumes of a namespace
                               must not both make it */
} vmbi_volrepo;

/* A volume as core describes it. */
typedef struct vmbi_volrepo_volume {
    vmbi_json *doc; /* owned */
    const char *ns;
    const char *pod;
    const char *pod_uid;
    const char *node;
    const char *name;   /* of the volume in the pod */
    const char *claim_uid; /* "" none */
    const char *waiter;    /* file that ends the pod's wait; "" none */
    bool block;
} vmbi_volrepo_volume;

/* ---- volume.c: where a volume lies ------------------------------------------------------------ */

vmb_code vmbi_volrepo_read(const char *text, size_t len, vmbi_volrepo_volume *out, vmb_error **err);
void vmbi_volrepo_done(vmbi_volrepo_volume *v);
/* The path of the volume on this node into out (reset first): exactly one folder, or one disk in
 * block mode. Nothing below the kubelet's folder is reached through a symlink, except a disk, whose
 * link must lead to a block device. */
vmb_code vmbi_volrepo_path(const vmbi_volrepo *p, const vmbi_volrepo_volume *v, vmbi_buf *out,
                           vmb_error **err);

/* ---- repository.c ------------------------------------------------------------------------------ */

/* A repository, open and locked, with its index. */
typedef struct vmbi_volrepo_session {
    vmbi_repo *repo;
    vmbi_buf prefix; /* of the repository in the store */
} vmbi_volrepo_session;

/* ns: whose repository. make: it is made when there is none. */
vmb_code vmbi_volrepo_open(vmbi_volrepo *p, vmb_job *job, const char *ns, bool make,
                           vmbi_repo_lock_kind lock, vmbi_volrepo_session *out, vmb_error **err);
void vmbi_volrepo_close(vmbi_volrepo_session *s);
/* The latest snapshot of the same claim, or of the same volume of a pod of that name; "" when there
 * is none. */
vmb_code vmbi_volrepo_parent(vmbi_volrepo_session *s, const vmbi_volrepo_volume *v,
                             char id[VMBI_REPO_HEX_SIZE], vmb_error **err);
/* The repository as restic and Velero call it; "" when the location tells too little. */
vmb_code vmbi_volrepo_identifier(const vmbi_json *location, const char *ns, vmbi_buf *out,
                                 vmb_error **err);

/* ---- password.c -------------------------------------------------------------------------------- */

/* Velero's rule, unless the settings say otherwise; out's bytes are to be wiped by the caller. */
vmb_code vmbi_volrepo_password(const vmbi_volrepo *p, vmb_job *job, vmbi_buf *out, vmb_error **err);
void vmbi_volrepo_wipe(vmbi_buf *b);

/* ---- restore.c: what was saved ------------------------------------------------------------------ */

/* Which snapshot of which repository: of what backup wrote, or of a PodVolumeBackup. */
typedef struct vmbi_volrepo_saved {
    vmbi_json *doc; /* owned, also after failures */
    const char *id; /* "" nothing was saved: the volume was empty */
    const char *ns;
} vmbi_volrepo_saved;
vmb_code vmbi_volrepo_read_saved(const char *text, size_t len, vmbi_volrepo_saved *out,
                                 vmb_error **err);

/* ---- mark.c ------------------------------------------------------------------------------------- */

/* Makes the file .velero/<name> in a folder, and takes away what the folder .velero had before. No
 * link is followed. */
vmb_code vmbi_volrepo_mark(const char *folder, const char *name, vmb_error **err);

/* ---- save.c, restore.c, verify.c ---------------------------------------------------------------------------- */

vmb_code vmbi_volrepo_backup(void *user, vmb_job *job, const char *volume, size_t len,
                             vmb_progress *progress, vmb_sink *out, vmb_error **err);
vmb_code vmbi_volrepo_restore(void *user, vmb_job *job, const char *volume, size_t len,
                              const char *snapshot, size_t snapshot_len, vmb_progress *progress,
                              vmb_error **err);
vmb_code vmbi_volrepo_verify(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                             vmb_progress *progress, vmb_error **err);
vmb_code vmbi_volrepo_remove(void *user, vmb_job *job, const char *snapshot, size_t snapshot_len,
                             vmb_error **err);

#endif
