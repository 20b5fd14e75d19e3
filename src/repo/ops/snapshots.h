/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as sets: which ones a caller means, sorted and grouped as restic does it. */
#ifndef VMBI_REPO_OPS_SNAPSHOTS_H
#define VMBI_REPO_OPS_SNAPSHOTS_H

#include "repo/repo.h"

/* One snapshot, read. */
typedef struct vmbi_snapshot {
    char id[VMBI_REPO_HEX_SIZE];
    vmbi_json *json; /* owned; the file as it is, without its ID */
    vmbi_repo_id tree;
    int64_t time_unix_ns;
    int32_t utc_offset_s; /* of the zone the time is written in: what "daily" means to a policy */
} vmbi_snapshot;

typedef struct vmbi_snapshot_set {
    vmbi_snapshot *v; /* oldest first; of equal times, by ID */
    size_t n, cap;
    size_t damaged; /* snapshot files that cannot be read; they are left out */
} vmbi_snapshot_set;

/* Which snapshots. A zeroed filter means all. Strings and lists are borrowed. */
typedef struct vmbi_snapshot_filter {
    /* Whole IDs, unique starts of IDs, or "latest": the newest that passes the rest of the filter.
     * When any are given the rest of the filter counts for "latest" only, as with restic. */
    const char *const *ids;
    size_t n_ids;
    const char *const *hosts; /* one of these; none: any */
    size_t n_hosts;
    const char *const *tags; /* each is "a,b": all of these; one such list must match; "" matches
                              * snapshots without tags; none: any */
    size_t n_tags;
    const char *const *paths; /* the snapshot has all of these */
    size_t n_paths;
    size_t latest; /* the newest n of each host and set of paths; 0: all */
    bool has_before;
    int64_t before_unix_ns; /* taken at this time or earlier; with has_before */
} vmbi_snapshot_filter;

/* Reads the snapshots that the filter names. VMB_E_NOT_FOUND: an ID of the filter names none;
 * VMB_E_CONFLICT: it names several. No snapshot at all is VMB_OK with an empty set. */
vmb_code vmbi_snapshots_load(vmbi_repo *r, const vmbi_snapshot_filter *f, vmbi_snapshot_set *out,
                             vmb_error **err);
void vmbi_snapshots_free(vmbi_snapshot_set *s);

/* One snapshot by ID, unique start of an ID or "latest" under the filter (its ids do not count;
 * NULL: no filter). Free it with vmbi_snapshot_done(). */
vmb_code vmbi_snapshot_find(vmbi_repo *r, const char *id, const vmbi_snapshot_filter *f,
                            vmbi_snapshot *out, vmb_error **err);
void vmbi_snapshot_done(vmbi_snapshot *s);
/* Sets all but json from a snapshot's JSON; false when it lacks its time or tree. */
bool vmbi_snapshot_fill(vmbi_snapshot *out, const char *id, const vmbi_json *json);
/* Does the snapshot have all tags of "a,b"? An empty tag: it has none at all. */
bool vmbi_snapshot_has_tags(const vmbi_snapshot *s, const char *tags);

/* The snapshot that restic would take as parent of a backup: the newest of this host with all of
 * these paths, taken at before_unix_ns (0: now) or earlier. id is "" when there is none. */
vmb_code vmbi_snapshot_parent(vmbi_repo *r, const char *host, const char *const *paths,
                              size_t n_paths, int64_t before_unix_ns, char id[VMBI_REPO_HEX_SIZE],
                              vmb_error **err);

/* The snapshot as restic's --json prints it: its fields, then "id" and "short_id". Owned by the
 * caller; NULL when memory is out. */
vmbi_json *vmbi_snapshot_json(const vmbi_snapshot *s);

/* Grouping. */
enum {
    VMBI_GROUP_HOST = 1,
    VMBI_GROUP_PATHS = 2,
    VMBI_GROUP_TAGS = 4,
    VMBI_GROUP_DEFAULT = VMBI_GROUP_HOST | VMBI_GROUP_PATHS
};
/* "host,paths,tags" in any choice and order, as --group-by takes it; "" is no grouping. */
vmb_code vmbi_group_parse(const char *text, unsigned *out, vmb_error **err);

typedef struct vmbi_snapshot_group {
    vmbi_json *key;          /* {"host":…,"paths":[…]|null,"tags":[…]|null} */
    const vmbi_snapshot **v; /* newest first, borrowed from the set */
    size_t n;
} vmbi_snapshot_group;
typedef struct vmbi_snapshot_groups {
    vmbi_snapshot_group *v; /* in the order of their keys' text */
    size_t n;
} vmbi_snapshot_groups;
/* The set must outlive the groups. */
vmb_code vmbi_snapshots_group(const vmbi_snapshot_set *s, unsigned by, vmbi_snapshot_groups *out,
                              vmb_error **err);
void vmbi_snapshot_groups_free(vmbi_snapshot_groups *g);

#endif
