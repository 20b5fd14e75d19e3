/* SPDX-License-Identifier: Apache-2.0 */
/* Following the changes of a resource: a list first, then one event after the other. Source:
 * Kubernetes API concepts, "Efficient detection of changes" (WatchEvent, bookmarks, 410 Gone). */
#ifndef VMBI_KUBE_WATCH_H
#define VMBI_KUBE_WATCH_H

#include "kube/client.h"
#include "kube/path.h"

typedef struct vmbi_kube_watch {
    const vmbi_kube_path *path;   /* no name */
    const char *resource_version; /* where to go on; NULL or "": list first */
} vmbi_kube_watch;

/* type: "ADDED", "MODIFIED", "DELETED", "BOOKMARK", or "SYNCED" after the last object of the list
 * that stands at the beginning (json is then an object with metadata.resourceVersion alone, as in
 * a bookmark). */
typedef vmb_code (*vmbi_kube_event_fn)(void *user, const char *type, const char *json, size_t len,
                                       vmb_error **err);

enum {
    VMBI_KUBE_EVENT_MAX_BYTES = 16 << 20, /* etcd's limit for an object is 1.5 MiB */
    VMBI_KUBE_RV_SIZE = 64                /* a resource version is short; longer ones are refused */
};

/* Hands every event to fn until the limits end, fn fails, or the watch is lost. It resumes by
 * itself where a connection ended. VMB_E_GONE: the server has forgotten the position, list again. */
vmb_code vmbi_kube_watch_each(vmbi_kube *k, const vmbi_kube_watch *watch,
                              const vmbi_limits *limits, vmbi_kube_event_fn fn, void *user,
                              vmb_error **err);

/* Takes the streamed answer apart; for tests. Lines may come in any pieces. */
typedef struct vmbi_kube_lines {
    vmbi_buf line;
    const char *what; /* begins messages */
    char position[VMBI_KUBE_RV_SIZE]; /* resource version of the newest event */
    uint64_t events;
    vmbi_kube_event_fn fn;
    void *user;
} vmbi_kube_lines;
void vmbi_kube_lines_init(vmbi_kube_lines *l, const char *what, vmbi_kube_event_fn fn, void *user);
vmb_code vmbi_kube_lines_feed(vmbi_kube_lines *l, const char *data, size_t len, vmb_error **err);
void vmbi_kube_lines_done(vmbi_kube_lines *l);

#endif
