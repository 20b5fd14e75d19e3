/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into snapshots: entries, and the content of a file. */
#ifndef VMBI_REPO_OPS_LS_H
#define VMBI_REPO_OPS_LS_H

#include "base/job.h"
#include "repo/ops/snapshots.h"

/* Receives one JSON object, borrowed for the call. Another code than VMB_OK ends the listing. */
typedef vmb_code (*vmbi_ops_json_fn)(void *user, const char *json, size_t len, vmb_error **err);

typedef struct vmbi_ls_options {
    const char *path; /* absolute path in the snapshot; NULL or "/": the root */
    bool recursive;   /* all below it, not only its own entries */
} vmbi_ls_options;

/* Lists entries as `restic ls --json` prints nodes: {"name","type","path","uid","gid","size" of
 * files,"mode","permissions","mtime","atime","ctime","inode","message_type":"node","struct_type":
 * "node"}, times in UTC. With a path: the entry
 * itself and, when it is a folder, its entries (all below it when recursive). VMB_E_NOT_FOUND: no
 * such path. Needs the index. Memory: the tree blobs from the root to where the walk is. */
vmb_code vmbi_ls(vmbi_repo *r, const vmbi_snapshot *s, const vmbi_ls_options *o, vmb_job *job,
                 vmbi_ops_json_fn fn, void *user, vmb_error **err);

typedef vmb_code (*vmbi_dump_fn)(void *user, const void *data, size_t len, vmb_error **err);
/* Writes the content of one file, in order. VMB_E_NOT_FOUND: no such path; VMB_E_ARG: it is no
 * regular file. Needs the index. Memory: its node and 8 MiB. */
vmb_code vmbi_dump(vmbi_repo *r, const vmbi_snapshot *s, const char *path, vmb_job *job,
                   vmbi_dump_fn fn, void *user, vmb_error **err);

#endif
