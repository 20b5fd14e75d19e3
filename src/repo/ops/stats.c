/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/ops/stats.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "repo/tree/tree.h"

enum { SEAL_OVERHEAD = 32 }; /* of a blob: nonce and MAC */

static const char *const mode_names[] = {"restore-size", "raw-data", "files-by-contents"};

vmb_code vmbi_stats_mode_parse(const char *text, vmbi_stats_mode *out, vmb_error **err)
{
    for (size_t i = 0; i < VMBI_ARRAY_LEN(mode_names); i++) {
        if (text == NULL || strcmp(text, mode_names[i]) == 0) {
            *out = (vmbi_stats_mode)i;
            return VMB_OK;
        }
    }
    return vmbi_fail(err, VMB_E_ARG,
                     "statistics \"%.40s\": restore-size, raw-data and files-by-contents are known",
                     text);
}

typedef struct counting {
    vmbi_repo *r;
    vmbi_stats_mode mode;
    vmbi_keyset seen; /* blobs, hard links or contents */
    vmbi_ops_stats *out;
} counting;

/* Half of an ID names a blob well enough; the type makes one bit of difference. */
static vmbi_key16 blob_key(vmbi_blob_type type, const vmbi_repo_id *id)
{
    vmbi_key16 key;
    memcpy(key.b, id->b, sizeof(key.b));
    key.b[15] = (uint8_t)((key.b[15] & 0xfe) | (type == VMBI_BLOB_TREE ? 1 : 0));
    return key;
}

static vmb_code count_blob(counting *c, vmbi_blob_type type, const vmbi_repo_id *id, bool *added,
                           vmb_error **err)
{
    vmbi_key16 key = blob_key(type, id);
    vmbi_blob_place place;
    vmb_code rc = vmbi_keyset_add(&c->seen, &key, added, err);
    if (rc != VMB_OK || !*added) {
        return rc;
    }
    if (!vmbi_repo_find_blob(c->r, type, id, &place)) {
        char hex[VMBI_REPO_HEX_SIZE];
        vmbi_repo_id_hex(id, hex);
        return vmbi_fail(err, VMB_E_NOT_FOUND, "the index has no blob %s", hex);
    }
    c->out->total_size += place.stored_len;
    c->out->total_uncompressed_size += (uint64_t)place.size + SEAL_OVERHEAD;
    c->out->total_blob_count++;
    return VMB_OK;
}

static vmb_code count_raw(counting *c, const vmbi_node *node, bool *descend, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    bool added = false;
    for (size_t i = 0; i < node->n_content && rc == VMB_OK; i++) {
        rc = count_blob(c, VMBI_BLOB_DATA, &node->content[i], &added, err);
    }
    if (rc == VMB_OK && node->has_subtree) {
        rc = count_blob(c, VMBI_BLOB_TREE, &node->subtree, &added, err);
        *descend = added;
    }
    return rc;
}

/* Files with several names are written once. */
static vmb_code count_restore(counting *c, const vmbi_node *node, vmb_error **err)
{
    bool added = true;
    vmb_code rc = VMB_OK;
    if (node->links != 1 && node->type != VMBI_NODE_DIR && node->inode != 0) {
        vmbi_key16 key;
        memcpy(key.b, &node->inode, 8);
        memcpy(key.b + 8, &node->device_id, 8);
        rc = vmbi_keyset_add(&c->seen, &key, &added, err);
    }
    c->out->total_file_count++;
    c->out->total_size += added ? node->size : 0;
    return rc;
}

static vmb_code count_content(counting *c, const vmbi_node *node, vmb_error **err)
{
    vmbi_repo_id id;
    vmbi_key16 key;
    bool added = false;
    vmbi_repo_hash(c->r, node->content != NULL ? (const void *)node->content : "",
                   node->n_content * sizeof(*node->content), &id);
    memcpy(key.b, id.b, sizeof(key.b));
    vmb_code rc = vmbi_keyset_add(&c->seen, &key, &added, err);
    if (rc == VMB_OK && added) {
        c->out->total_size += node->size;
        c->out->total_file_count++;
    }
    return rc;
}

static vmb_code visit(void *user, const vmbi_repo_id *tree, const char *path,
                      const vmbi_node *node, bool *descend, vmb_error **err)
{
    counting *c = user;
    (void)tree;
    (void)path;
    return c->mode == VMBI_STATS_RAW_DATA       ? count_raw(c, node, descend, err)
           : c->mode == VMBI_STATS_RESTORE_SIZE ? count_restore(c, node, err)
                                                : count_content(c, node, err);
}

static vmb_code count_snapshot(counting *c, const vmbi_snapshot *s, vmb_job *job, vmb_error **err)
{
    vmbi_tree_walk w = {.repo = c->r, .job = job, .visit = visit, .user = c};
    vmb_code rc = VMB_OK;
    bool added = true;
    if (c->mode == VMBI_STATS_RAW_DATA) {
        rc = count_blob(c, VMBI_BLOB_TREE, &s->tree, &added, err);
    } else if (c->mode == VMBI_STATS_RESTORE_SIZE) {
        vmbi_keyset_free(&c->seen); /* each snapshot is restored for itself */
    }
    c->out->snapshots_count++;
    return rc == VMB_OK && added ? vmbi_tree_walk_run(&w, &s->tree, err) : rc;
}

vmb_code vmbi_stats(vmbi_repo *r, vmbi_stats_mode mode, const vmbi_snapshot_filter *f,
                    vmb_job *job, vmbi_ops_stats *out, vmb_error **err)
{
    vmbi_ops_stats stats = {0};
    vmbi_snapshot_set set = {0};
    counting c = {.r = r, .mode = mode, .out = &stats};
    vmb_code rc = vmbi_snapshots_load(r, f, &set, err);
    for (size_t i = 0; i < set.n && rc == VMB_OK; i++) {
        rc = count_snapshot(&c, &set.v[i], job, err);
    }
    vmbi_keyset_free(&c.seen);
    vmbi_snapshots_free(&set);
    if (rc == VMB_OK) {
        *out = stats;
    }
    return rc;
}

vmbi_json *vmbi_ops_stats_json(vmbi_stats_mode mode, const vmbi_ops_stats *s)
{
    vmbi_json *v = vmbi_json_object();
    bool raw = mode == VMBI_STATS_RAW_DATA;
    bool ok = v != NULL && vmbi_json_set_int(v, "total_size", (int64_t)s->total_size) &&
              vmbi_json_set_int(v, "total_file_count", (int64_t)s->total_file_count) &&
              vmbi_json_set_int(v, "snapshots_count", (int64_t)s->snapshots_count);
    ok = ok && (!raw || (vmbi_json_set_int(v, "total_blob_count", (int64_t)s->total_blob_count) &&
                         vmbi_json_set_int(v, "total_uncompressed_size",
                                           (int64_t)s->total_uncompressed_size)));
    if (!ok) {
        vmbi_json_free(v);
        return NULL;
    }
    return v;
}
