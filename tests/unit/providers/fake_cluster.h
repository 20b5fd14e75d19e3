/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster in memory for tests of providers: objects, patches, faults on demand, and (switched on
 * by the test) what a snapshot controller and its storage do. One thread. */
#ifndef VMBT_FAKE_CLUSTER_H
#define VMBT_FAKE_CLUSTER_H

#include <vmbackup/provider.h>

#include "base/buf.h"
#include "base/job.h"
#include "base/map.h"
#include "codec/json.h"
#include "core/action.h"
#include "core/cluster.h"

typedef enum fake_verb {
    FAKE_LIST,
    FAKE_GET,
    FAKE_CREATE,
    FAKE_PATCH,
    FAKE_REMOVE,
    FAKE_VERBS
} fake_verb;

typedef struct fake_cluster fake_cluster;

/* How the storage behaves; counts are requests for a snapshot or content since its creation. */
typedef struct fake_storage {
    bool controller; /* binds snapshots */
    bool sidecar;    /* takes them */
    int bind_after;
    int handle_after;
    int ready_after;
    int64_t restore_size;
    const char *vs_error;  /* status.error of the snapshot; NULL none */
    int vs_error_until;    /* request count at which it clears; -1 never */
    const char *vsc_error; /* JSON of status.error of the content; NULL none */
    const char *deletion_policy;
    int snapshots; /* that exist in the storage */
} fake_storage;

struct fake_cluster {
    vmbi_map objects; /* "group/resource/ns/name" -> tree */
    vmb_cluster_provider provider;
    vmb_cluster cluster;
    vmb_job job;
    bool has_cluster;
    /* faults: the next `times` calls of a verb (on a resource, NULL any) fail */
    struct fake_fault {
        vmb_code code;
        int times;
        const char *resource;
        bool after; /* the call does its work, only the answer is lost */
        bool retryable;
    } fault[FAKE_VERBS];
    int calls[FAKE_VERBS];
    fake_storage storage;
    int looks;
    int created;
    char last_selector[256];
    vmbi_buf log; /* "W:text\n" per line */
    vmbi_cancel *cancel;
};

/* The discovery lists the resources of demo programs: core, rbac, kubevirt, snapshots … without:
 * comma list of groups that are not served. */
void fake_open(fake_cluster *f, const char *without);
void fake_close(fake_cluster *f);
/* Adds an object; single quotes stand for double ones. */
void fake_put(fake_cluster *f, const char *group, const char *resource, const char *json);
/* Borrowed; NULL when absent. */
vmbi_json *fake_get(fake_cluster *f, const char *group, const char *resource, const char *ns,
                    const char *name);
size_t fake_count(fake_cluster *f, const char *group, const char *resource);
void fake_fail(fake_cluster *f, fake_verb verb, const char *resource, vmb_code code, int times);
/* Sets the backup of the job; text must outlive the job. */
void fake_backup(fake_cluster *f, const char *name, const char *json);

/* ---- actions ---- */

typedef struct fake_actions {
    vmb_action_provider v[8];
    size_t n;
} fake_actions;

vmb_code fake_actions_add(void *user, const vmb_action_provider *p, vmb_error **err);
void fake_actions_free(fake_actions *a);
/* Runs every action that applies, as a run does; *item is replaced when an action changed it. */
vmb_code fake_actions_run(const fake_actions *a, fake_cluster *f, const char *group,
                          const char *resource, vmbi_json **item, vmb_action_result *result,
                          vmb_error **err);
/* Flags of a related object, -1 when it is not related. */
int fake_related(const vmb_action_result *r, const char *group, const char *resource,
                 const char *ns, const char *name);

/* Text with ' instead of " as a tree. */
vmbi_json *fake_json(const char *text);

#endif
