/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/disk/find.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/tree/tree.h"

enum { MAX_DEPTH = 256 };

/* Moves a node out of its list. */
static void take(vmbi_node_list *list, size_t i, vmbi_node *out)
{
    *out = list->v[i];
    list->v[i] = (vmbi_node){0};
}

static vmb_code find_path(vmbi_repo *r, vmbi_repo_id tree, const char *path, vmbi_node *out,
                          vmb_error **err)
{
    const char *rest = path + strspn(path, "/");
    for (;;) {
        vmbi_node_list list = {0};
        size_t len = strcspn(rest, "/");
        const char *next = rest + len + strspn(rest + len, "/");
        char *name = vmbi_strndup(rest, len);
        vmb_code rc = name != NULL ? vmbi_tree_load(r, &tree, &list, err) : vmbi_fail_nomem(err);
        const vmbi_node *node = rc == VMB_OK ? vmbi_node_list_find(&list, name) : NULL;
        bool last = *next == '\0';
        vmbi_free(name);
        if (rc == VMB_OK && (node == NULL || (!last && !node->has_subtree))) {
            rc = vmbi_fail(err, VMB_E_NOT_FOUND, "%s is not in the snapshot", path);
        } else if (rc == VMB_OK && last && node->type != VMBI_NODE_FILE) {
            rc = vmbi_fail(err, VMB_E_INVALID, "%s is no regular file", path);
        } else if (rc == VMB_OK && last) {
            take(&list, (size_t)(node - list.v), out);
        } else if (rc == VMB_OK) {
            tree = node->subtree;
        }
        vmbi_node_list_free(&list);
        if (rc != VMB_OK || last) {
            return rc;
        }
        rest = next;
    }
}

/* Walks everything until a second file is met. */
static vmb_code find_only(vmbi_repo *r, const vmbi_repo_id *tree, int depth, bool *found,
                          vmbi_node *out, vmb_error **err)
{
    vmbi_node_list list = {0};
    if (depth > MAX_DEPTH) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d directories deep", MAX_DEPTH);
    }
    vmb_code rc = vmbi_tree_load(r, tree, &list, err);
    for (size_t i = 0; i < list.n && rc == VMB_OK; i++) {
        const vmbi_node *node = &list.v[i];
        if (node->has_subtree) {
            rc = find_only(r, &node->subtree, depth + 1, found, out, err);
        } else if (node->type == VMBI_NODE_FILE && *found) {
            rc = vmbi_fail(err, VMB_E_CONFLICT,
                           "the snapshot has several files: name the one that is meant");
        } else if (node->type == VMBI_NODE_FILE) {
            take(&list, i, out);
            *found = true;
        }
    }
    vmbi_node_list_free(&list);
    return rc;
}

vmb_code vmbi_disk_find(vmbi_repo *r, const char *snapshot, const char *path, vmbi_node *out,
                        char full_id[VMBI_REPO_HEX_SIZE], vmbi_json **json, vmb_error **err)
{
    vmbi_json *snap = NULL;
    vmbi_node node = {0};
    vmbi_repo_id tree;
    bool found = true;
    vmb_code rc = vmbi_repo_snapshot_load(r, snapshot, full_id, &snap, err);
    if (rc == VMB_OK) {
        const char *hex = vmbi_json_get_str(snap, "tree");
        if (hex == NULL || !vmbi_repo_id_parse(hex, strlen(hex), &tree)) {
            rc = vmbi_fail(err, VMB_E_INVALID, "snapshot %s has no tree", full_id);
        }
    }
    if (rc == VMB_OK && path != NULL) {
        rc = find_path(r, tree, path, &node, err);
    } else if (rc == VMB_OK) {
        found = false;
        rc = find_only(r, &tree, 0, &found, &node, err);
    }
    if (rc == VMB_OK && !found) {
        rc = vmbi_fail(err, VMB_E_NOT_FOUND, "the snapshot has no file");
    }
    if (rc == VMB_OK) {
        *out = node;
        node = (vmbi_node){0};
    }
    if (rc == VMB_OK && json != NULL) {
        *json = vmbi_steal(&snap);
    }
    vmbi_node_done(&node);
    vmbi_json_free(snap);
    return rc;
}
