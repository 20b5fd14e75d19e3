/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "repo/restic/restic.h"

static const char dir[] = "snapshots/";

enum { SNAPSHOT_MAX = 16 << 20 };

static vmb_code load(vmbi_restic *r, const vmbi_repo_id *id, vmbi_json **out, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(SNAPSHOT_MAX);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id tree;
    const char *hex = NULL;
    vmbi_json *v = NULL;
    vmb_code code = vmbi_restic_load_file(r, dir, id, &text, err);

    vmbi_restic_path(path, dir, id);
    if (code == VMB_OK) {
        code = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, path, &v, err);
    }
    if (code == VMB_OK) {
        hex = vmbi_json_get_str(v, "tree");
        if (hex == NULL || !vmbi_repo_id_parse(hex, strlen(hex), &tree)) {
            code = vmbi_fail(err, VMB_E_INVALID, "%s: \"tree\" is no ID", path);
        }
    }
    if (code == VMB_OK) {
        *out = v;
        v = NULL;
    }
    vmbi_json_free(v);
    vmbi_buf_free(&text);
    return code;
}

static bool damaged(vmb_code code)
{
    return code == VMB_E_INVALID || code == VMB_E_PARSE || code == VMB_E_DENIED ||
           code == VMB_E_UNSUPPORTED || code == VMB_E_LIMIT;
}

vmb_code vmbi_restic_snapshot_list(vmbi_repo *base, vmbi_snapshot_fn fn, void *user,
                                   vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_id_list list = {NULL, NULL, 0, 0};
    size_t i = 0;
    vmb_code code = vmbi_restic_list(r, dir, &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        char hex[VMBI_REPO_HEX_SIZE];
        vmb_error *why = NULL;
        vmbi_json *v = NULL;

        vmbi_repo_id_hex(&list.v[i], hex);
        code = load(r, &list.v[i], &v, &why);
        if (code == VMB_E_NOT_FOUND) { /* forgotten since the listing */
            vmb_error_free(why);
            code = VMB_OK;
            continue;
        }
        if (damaged(code)) {
            vmbi_restic_log(r, VMB_LOG_WARNING, "%s", vmb_error_message(why));
            vmb_error_free(why);
            code = fn(user, hex, NULL, err);
            continue;
        }
        vmbi_error_move(err, &why);
        if (code == VMB_OK) {
            code = fn(user, hex, v, err);
        }
        vmbi_json_free(v);
    }
    vmbi_id_list_free(&list);
    return code;
}

typedef struct newest {
    vmbi_repo_id id;
    int64_t time_unix_ns;
    bool found;
} newest;

static vmb_code keep_newest(void *user, const char *id, const vmbi_json *snapshot, vmb_error **err)
{
    newest *n = user;
    const char *text = vmbi_json_get_str(snapshot, "time");
    int64_t t = 0;

    (void)err;
    if (snapshot != NULL && text != NULL && vmbi_parse_rfc3339(text, &t) &&
        (!n->found || t > n->time_unix_ns)) {
        n->found = vmbi_repo_id_parse(id, strlen(id), &n->id);
        n->time_unix_ns = t;
    }
    return VMB_OK;
}

static vmb_code resolve(vmbi_restic *r, const char *text, vmbi_repo_id *out, vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    char hex[VMBI_REPO_HEX_SIZE];
    const size_t len = strlen(text);
    size_t i = 0, hits = 0;
    vmb_code code = VMB_OK;

    if (strcmp(text, "latest") == 0) {
        newest n = {{{0}}, 0, false};

        code = vmbi_restic_snapshot_list(&r->base, keep_newest, &n, err);
        *out = n.id;
        hits = n.found ? 1 : 0;
    } else if (vmbi_repo_id_parse(text, len, out)) {
        return VMB_OK;
    } else {
        code = vmbi_restic_list(r, dir, &list, err);
        for (i = 0; code == VMB_OK && i < list.n && len > 0; i++) {
            vmbi_repo_id_hex(&list.v[i], hex);
            if (strncmp(hex, text, len) == 0) {
                *out = list.v[i];
                hits++;
            }
        }
        vmbi_id_list_free(&list);
    }
    if (code == VMB_OK && hits == 0) {
        code = vmbi_fail(err, VMB_E_NOT_FOUND, "snapshot \"%.80s\": there is none", text);
    } else if (code == VMB_OK && hits > 1) {
        code = vmbi_fail(err, VMB_E_CONFLICT, "snapshot \"%.80s\": several begin like this", text);
    }
    return code;
}

vmb_code vmbi_restic_snapshot_load(vmbi_repo *base, const char *id,
                                   char full_id[VMBI_REPO_HEX_SIZE], vmbi_json **out,
                                   vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_repo_id own;
    vmb_code code = resolve(r, id, &own, err);

    if (code == VMB_OK) {
        code = load(r, &own, out, err);
    }
    if (code == VMB_OK && full_id != NULL) {
        vmbi_repo_id_hex(&own, full_id);
    }
    return code;
}

/* restic's order of fields; what it does not know comes behind, sorted. */
static const char *const snapshot_keys[] = {
    "time", "parent", "tree", "paths", "hostname", "username", "uid", "gid",
    "excludes", "tags", "original", "program_version", "summary"};
static const char *const summary_keys[] = {
    "backup_start", "backup_end", "files_new", "files_changed", "files_unmodified", "dirs_new",
    "dirs_changed", "dirs_unmodified", "data_blobs", "tree_blobs", "data_added",
    "data_added_packed", "total_files_processed", "total_bytes_processed"};

static vmb_code print_ordered(const vmbi_json *v, const char *const *keys, size_t n, vmbi_buf *out,
                              vmb_error **err);

static vmb_code print_member(const vmbi_json *v, const char *key, bool *first, vmbi_buf *out,
                             vmb_error **err)
{
    vmbi_buf_addc(out, *first ? '{' : ',');
    *first = false;
    vmbi_buf_add_json_string(out, key, strlen(key));
    vmbi_buf_addc(out, ':');
    if (strcmp(key, "summary") == 0 && vmbi_json_is_object(v)) {
        return print_ordered(v, summary_keys, VMBI_ARRAY_LEN(summary_keys), out, err);
    }
    return vmbi_json_print(v, out, err);
}

static bool in(const char *const *keys, size_t n, const char *key)
{
    size_t i = 0;

    while (i < n && strcmp(keys[i], key) != 0) {
        i++;
    }
    return i < n;
}

static vmb_code print_ordered(const vmbi_json *v, const char *const *keys, size_t n, vmbi_buf *out,
                              vmb_error **err)
{
    bool first = true;
    size_t i = 0;
    void *it = NULL;
    vmb_code code = VMB_OK;

    for (i = 0; code == VMB_OK && i < n; i++) {
        if (vmbi_json_get(v, keys[i]) != NULL) {
            code = print_member(vmbi_json_get(v, keys[i]), keys[i], &first, out, err);
        }
    }
    for (it = vmbi_json_iter(v); code == VMB_OK && it != NULL; it = vmbi_json_iter_next(v, it)) {
        if (!in(keys, n, vmbi_json_iter_key(it))) {
            code = print_member(vmbi_json_iter_value(it), vmbi_json_iter_key(it), &first, out, err);
        }
    }
    vmbi_buf_adds(out, first ? "{}" : "}");
    return code;
}

vmb_code vmbi_restic_snapshot_save(vmbi_repo *base, const vmbi_json *snapshot,
                                   char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_buf text = VMBI_BUF_INIT(SNAPSHOT_MAX);
    const char *tree = vmbi_json_get_str(snapshot, "tree");
    vmbi_repo_id own;
    int64_t t = 0;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_SHARED, err);

    if (code != VMB_OK) {
        return code;
    }
    if (tree == NULL || !vmbi_repo_id_parse(tree, strlen(tree), &own) ||
        vmbi_json_get_str(snapshot, "time") == NULL ||
        !vmbi_parse_rfc3339(vmbi_json_get_str(snapshot, "time"), &t)) {
        return vmbi_fail(err, VMB_E_ARG, "snapshot: \"tree\" or \"time\" is missing or malformed");
    }
    code = vmbi_restic_flush(base, err); /* a snapshot names durable blobs only */
    if (code == VMB_OK) {
        code = vmbi_restic_still_locked(r, NULL, true, err);
    }
    if (code == VMB_OK) {
        code = print_ordered(snapshot, snapshot_keys, VMBI_ARRAY_LEN(snapshot_keys), &text, err);
    }
    if (code == VMB_OK) {
        code = vmbi_buf_check(&text, err, "snapshot");
    }
    if (code == VMB_OK) {
        code = vmbi_restic_save_file(r, NULL, dir, text.data, text.len, &own, err);
    }
    if (code == VMB_OK) {
        vmbi_repo_id_hex(&own, id);
    }
    vmbi_buf_free(&text);
    return code;
}

vmb_code vmbi_restic_snapshot_delete(vmbi_repo *base, const char *id, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_repo_id own;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_EXCLUSIVE, err);

    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_repo_id_parse(id, strlen(id), &own)) {
        return vmbi_fail(err, VMB_E_ARG, "snapshot \"%.80s\": not a whole ID", id);
    }
    return vmbi_restic_remove_named(r, dir, "snapshot", &own, err);
}
