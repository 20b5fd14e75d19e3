/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tree/tree.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void vmbi_node_list_free(vmbi_node_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        vmbi_node_done(&l->v[i]);
    }
    vmbi_free(l->v);
    *l = (vmbi_node_list){0};
}

vmb_code vmbi_node_list_push(vmbi_node_list *l, vmbi_node *node, vmb_error **err)
{
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 16 : l->cap * 2;
        vmbi_node *v = vmbi_realloc_array(l->v, cap, sizeof(*v));
        if (v == NULL) {
            vmbi_node_done(node);
            return vmbi_fail_nomem(err);
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = *node;
    *node = (vmbi_node){0};
    return VMB_OK;
}

const vmbi_node *vmbi_node_list_find(const vmbi_node_list *l, const char *name)
{
    size_t low = 0;
    size_t high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(l->v[mid].name, name);
        if (order == 0) {
            return &l->v[mid];
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

vmb_code vmbi_tree_load(vmbi_repo *r, const vmbi_repo_id *id, vmbi_node_list *out, vmb_error **err)
{
    vmbi_tree_reader t;
    const vmbi_node *node = NULL;
    vmb_code rc = vmbi_tree_reader_open(r, id, &t, err);
    while (rc == VMB_OK && (rc = vmbi_tree_reader_next(&t, &node, err)) == VMB_OK && node != NULL) {
        rc = vmbi_node_list_push(out, &t.node, err);
    }
    vmbi_tree_reader_close(&t);
    if (rc != VMB_OK) {
        vmbi_node_list_free(out);
    }
    return rc;
}

vmb_code vmbi_tree_save(vmbi_repo *r, const vmbi_node_list *l, vmbi_repo_id *id, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_REPO_MAX_BLOB);
    vmbi_buf_adds(&text, "{\"nodes\":[");
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) {
            vmbi_buf_addc(&text, ',');
        }
        vmbi_node_print(&l->v[i], &text);
    }
    vmbi_buf_adds(&text, "]}\n");
    vmb_code rc = vmbi_buf_check(&text, err, "tree");
    if (rc == VMB_OK) {
        rc = vmbi_repo_save_blob(r, VMBI_BLOB_TREE, text.data, text.len, id, NULL, err);
    }
    vmbi_buf_free(&text);
    return rc;
}

vmb_code vmbi_tree_of_snapshot(vmbi_repo *r, const char *snapshot,
                               char full_id[VMBI_REPO_HEX_SIZE], vmbi_repo_id *tree,
                               vmb_error **err)
{
    vmbi_json *snap = NULL;
    vmb_code rc = vmbi_repo_snapshot_load(r, snapshot, full_id, &snap, err);
    if (rc == VMB_OK) {
        const char *hex = vmbi_json_get_str(snap, "tree");
        if (hex == NULL || !vmbi_repo_id_parse(hex, strlen(hex), tree)) {
            rc = vmbi_fail(err, VMB_E_INVALID, "snapshot %s has no tree", full_id);
        }
    }
    vmbi_json_free(snap);
    return rc;
}
