/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tree/: the state of one vmbi_tree_backup(). One thread walks over the directories;
 * workers read small files, take their metadata and print their nodes. */
#ifndef VMBI_REPO_TREE_SAVER_H
#define VMBI_REPO_TREE_SAVER_H

#include "base/job.h"
#include "repo/chunker.h"
#include "repo/tree/backup.h"
#include "repo/tree/exclude.h"
#include "repo/tree/node.h"
#include "repo/tree/pool.h"
#include "repo/tree/stat.h"
#include "repo/tree/tree.h"

enum {
    VMBI_SAVER_MAX_DEPTH = 1000, /* each level holds a descriptor */
    VMBI_SAVER_MAX_SLOTS = 1024  /* of a directory: entries behind a slow one */
};

/* What a worker owns. */
typedef struct vmbi_saver_worker {
    uint8_t *data; /* VMBI_CHUNK_MIN + 1 bytes, when it is needed */
    vmbi_owner_cache owners;
} vmbi_saver_worker;

typedef struct vmbi_saver {
    vmbi_repo *repo;
    vmbi_pool pool;
    const vmbi_tree_options *options;
    vmb_job *job;
    vmbi_excludes *excludes;
    vmbi_rabin *rabin;
    vmbi_chunker chunker;
    vmbi_ring ring; /* what is being read of large files; empty before the first one */
    vmbi_repo_id zero_id;
    bool zero_saved;
    vmbi_repo_id image_zero_id; /* of a whole chunk of a disk image */
    bool image_zero_saved;
    vmbi_owner_cache owners;
    vmbi_saver_worker workers[VMBI_POOL_MAX_THREADS];
    vmbi_tree_stats stats; /* the walking thread's */
    uint64_t root_device;  /* of the path that is being saved */
    int64_t started_unix_ns;
} vmbi_saver;

void vmbi_saver_warn(vmbi_saver *s, const char *path, const char *text);
/* Failures that end the backup; others cost one entry. */
bool vmbi_saver_is_fatal(vmbi_saver *s, vmb_code rc);
uint32_t vmbi_saver_image_chunk(const vmbi_saver *s);
bool vmbi_saver_is_image(const vmbi_saver *s, const char *name);

/* ---- file.c ---------------------------------------------------------------------------------- */

/* On a worker: reads a file of at most VMBI_CHUNK_MIN bytes as one blob; node->content and size are
 * set. *grew: it is larger now and nothing was saved. *fatal: a failure of the repository. */
vmb_code vmbi_saver_small(vmbi_saver *s, vmbi_saver_worker *w, int fd, vmbi_node *node,
                          bool *grew, bool *fatal, vmb_error **err);
/* On the walking thread: reads a file of any size; cut where restic cuts, or, for a disk image, at
 * fixed places. Holes are not read. */
vmb_code vmbi_saver_large(vmbi_saver *s, int fd, const struct stat *st, bool image,
                          vmbi_node *node, vmb_error **err);

/* ---- entry.c: a directory's tree while it is made -------------------------------------------- */

/* An entry whose node is not known yet. */
typedef struct vmbi_slot vmbi_slot;

typedef struct vmbi_tree_maker {
    vmbi_saver *s;
    int dirfd;        /* of the entries, open until the maker is done */
    const char *path; /* of the directory, for warnings */
    vmbi_buf text;    /* the tree so far */
    size_t n;
    vmbi_slot *first, *last;
    size_t n_slots;
    vmbi_pool_group group;
} vmbi_tree_maker;

void vmbi_maker_init(vmbi_tree_maker *m, vmbi_saver *s, int dirfd, const char *path);
/* Appends a node that is known. Names come in byte order. */
vmb_code vmbi_maker_add(vmbi_tree_maker *m, const vmbi_node *node, vmb_error **err);
/* Lets a worker make the node of a regular file and append it. name: below dirfd; node_name: what
 * the node is called. content (taken over in every case;
 * NULL: read the file): of an unchanged file. */
vmb_code vmbi_maker_file(vmbi_tree_maker *m, const char *name, const char *node_name,
                         const struct stat *st, vmbi_repo_id *content, size_t n_content,
                         vmb_error **err);
/* Waits until all nodes are appended. */
vmb_code vmbi_maker_wait(vmbi_tree_maker *m, vmb_error **err);
/* Waits for the workers and saves the tree. */
vmb_code vmbi_maker_save(vmbi_tree_maker *m, vmbi_repo_id *id, vmb_error **err);
/* Waits for the workers in any case. */
void vmbi_maker_done(vmbi_tree_maker *m);

/* ---- dir.c ----------------------------------------------------------------------------------- */

/* Saves all of the given paths, sorted by their components; old: the parent snapshot's root. */
vmb_code vmbi_saver_paths(vmbi_saver *s, const char *const *paths, size_t n,
                          const vmbi_repo_id *old, vmbi_repo_id *id, vmb_error **err);

#endif
