/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/disk/snapshot.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strs.h"
#include "repo/tree/tree.h"

static const char member[] = "vmbackup";

/* ---- options ----------------------------------------------------------------------------------- */

static bool is_component(const char *s, size_t len)
{
    return len > 0 && len <= 255 && !(len == 1 && s[0] == '.') &&
           !(len == 2 && s[0] == '.' && s[1] == '.') && memchr(s, '/', len) == NULL;
}

static bool is_folder(const char *path)
{
    size_t depth = 0;
    if (path[0] != '/' || strlen(path) > 4000) {
        return false;
    }
    for (const char *p = path + 1; *p != '\0'; depth++) {
        size_t len = strcspn(p, "/");
        if (!is_component(p, len) || (p[len] == '/' && p[len + 1] == '\0') || depth > 200) {
            return false;
        }
        p += len + (p[len] == '/' ? 1 : 0);
    }
    return true;
}

vmb_code vmbi_disk_check_options(const vmbi_disk_save_options *o, vmb_error **err)
{
    const uint32_t c = o->chunk_bytes;
    if (o->name != NULL && !is_component(o->name, strlen(o->name))) {
        return vmbi_fail(err, VMB_E_ARG, "\"%.300s\" cannot be the name of a file", o->name);
    }
    if (o->folder != NULL && !is_folder(o->folder)) {
        return vmbi_fail(err, VMB_E_ARG, "%.300s is no clean absolute path", o->folder);
    }
    if (c != 0 && (c < VMBI_DISK_CHUNK_MIN || c > VMBI_DISK_CHUNK_MAX || (c & (c - 1)) != 0)) {
        return vmbi_fail(err, VMB_E_ARG, "a chunk size of %u: a power of two from %d to %d is needed",
                         (unsigned)c, VMBI_DISK_CHUNK_MIN, VMBI_DISK_CHUNK_MAX);
    }
    return VMB_OK;
}

static const char *file_name(const vmbi_disk_save_options *o)
{
    return o->name != NULL ? o->name : "disk.img";
}

char *vmbi_disk_path(const vmbi_disk_save_options *o)
{
    vmbi_buf b = VMBI_BUF_INIT(8192);
    const char *folder = o->folder != NULL ? o->folder : "/";
    char *out = NULL;
    vmbi_buf_addf(&b, "%s%s%s", folder, vmbi_ends_with(folder, "/") ? "" : "/", file_name(o));
    if (vmbi_buf_take(&b, &out, NULL, NULL, "path") != VMB_OK) {
        out = NULL;
    }
    vmbi_buf_free(&b);
    return out;
}

/* ---- our own member ---------------------------------------------------------------------------- */

bool vmbi_disk_mark_read(const vmbi_json *snapshot, vmbi_disk_mark *out)
{
    const vmbi_json *m = vmbi_json_get(snapshot, member);
    int64_t chunk = vmbi_json_int(vmbi_json_get(m, "chunkSize"), 0);
    if (chunk < VMBI_DISK_CHUNK_MIN || chunk > VMBI_DISK_CHUNK_MAX || (chunk & (chunk - 1)) != 0) {
        return false;
    }
    *out = (vmbi_disk_mark){vmbi_json_get_str(m, "source"), vmbi_json_get_str(m, "state"),
                            (uint32_t)chunk};
    return true;
}

static vmbi_json *mark_json(const vmbi_disk_mark *mark)
{
    vmbi_json *m = vmbi_json_object();
    bool ok = m != NULL && vmbi_json_set_int(m, "chunkSize", mark->chunk_bytes);
    if (mark->state != NULL) {
        ok = ok && vmbi_json_set_str(m, "state", mark->state);
        ok = ok && vmbi_json_set_str(m, "source", mark->source);
    }
    if (!ok) {
        vmbi_json_free(m);
        m = NULL;
    }
    return m;
}

/* ---- trees --------------------------------------------------------------------------------------- */

static vmb_code save_tree(vmbi_repo *r, vmbi_node *node, vmbi_repo_id *tree, vmb_error **err)
{
    vmbi_node_list list = {0};
    vmb_code rc = vmbi_node_list_push(&list, node, err);
    if (rc == VMB_OK) {
        rc = vmbi_tree_save(r, &list, tree, err);
    }
    vmbi_node_list_free(&list);
    return rc;
}

/* From the file's folder up to the root. */
static vmb_code save_trees(vmbi_repo *r, const char *folder, vmbi_node *node, vmbi_repo_id *tree,
                           vmb_error **err)
{
    const vmbi_node file = *node; /* for its times; what it owns goes with the tree */
    size_t len = strlen(folder);
    vmb_code rc = save_tree(r, node, tree, err);
    while (rc == VMB_OK && len > 1) {
        size_t start = len;
        while (folder[start - 1] != '/') {
            start--;
        }
        vmbi_node dir = {
            .name = vmbi_strndup(folder + start, len - start),
            .type = VMBI_NODE_DIR,
            .mode = vmbi_node_mode(S_IFDIR | 0700),
            .mtime = file.mtime,
            .atime = file.mtime,
            .ctime = file.mtime,
            .uid = file.uid,
            .gid = file.gid,
            .subtree = *tree,
            .has_subtree = true,
        };
        rc = dir.name != NULL ? save_tree(r, &dir, tree, err) : vmbi_fail_nomem(err);
        len = start > 1 ? start - 1 : 1;
    }
    return rc;
}

/* ---- the snapshot ------------------------------------------------------------------------------ */

static vmbi_json *snapshot_json(const vmbi_disk_save_options *o, const char *path,
                                const vmbi_repo_id *tree, const char *parent_id,
                                const vmbi_disk_mark *mark)
{
    const int64_t now = o->time_unix_ns != 0 ? o->time_unix_ns : vmbi_unix_ns();
    char seconds[VMBI_RFC3339_SIZE];
    char when[64];
    char hex[VMBI_REPO_HEX_SIZE];
    char host[256] = "";
    const char *const paths[1] = {path};
    vmbi_format_rfc3339(now, seconds);
    (void)snprintf(when, sizeof(when), "%.19s.%09lldZ", seconds, (long long)(now % VMBI_SECOND));
    vmbi_repo_id_hex(tree, hex);
    (void)gethostname(host, sizeof(host) - 1);
    vmbi_json *snap = vmbi_json_object();
    bool ok = snap != NULL && vmbi_json_set_str(snap, "time", when);
    ok = ok && (parent_id[0] == '\0' || vmbi_json_set_str(snap, "parent", parent_id));
    ok = ok && vmbi_json_set_str(snap, "tree", hex);
    ok = ok && vmbi_json_set(snap, "paths", vmbi_json_strings(paths, 1));
    ok = ok && vmbi_json_set_str(snap, "hostname", o->hostname != NULL ? o->hostname : host);
    ok = ok && (o->username == NULL || vmbi_json_set_str(snap, "username", o->username));
    ok = ok && (getuid() == 0 || vmbi_json_set_int(snap, "uid", getuid()));
    ok = ok && (getgid() == 0 || vmbi_json_set_int(snap, "gid", getgid()));
    ok = ok && (o->n_tags == 0 || vmbi_json_set(snap, "tags", vmbi_json_strings(o->tags, o->n_tags)));
    ok = ok && vmbi_json_set(snap, member, mark_json(mark));
    if (!ok) {
        vmbi_json_free(snap);
        snap = NULL;
    }
    return snap;
}

vmb_code vmbi_disk_snapshot_save(vmbi_repo *r, const vmbi_disk_save_options *o, vmbi_node *node,
                                 const char *parent_id, const vmbi_disk_mark *mark,
                                 char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    vmbi_repo_id tree;
    vmbi_json *snap = NULL;
    char *path = vmbi_disk_path(o);
    vmb_code rc = path != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        node->name = vmbi_strdup(file_name(o));
        rc = node->name != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = save_trees(r, o->folder != NULL ? o->folder : "/", node, &tree, err);
    }
    if (rc == VMB_OK) {
        snap = snapshot_json(o, path, &tree, parent_id, mark);
        rc = snap != NULL ? vmbi_repo_snapshot_save(r, snap, id, err) : vmbi_fail_nomem(err);
    }
    vmbi_json_free(snap);
    vmbi_node_done(node);
    vmbi_free(path);
    return rc;
}
