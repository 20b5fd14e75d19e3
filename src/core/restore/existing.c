/* SPDX-License-Identifier: Apache-2.0 */
/* An object that is in the cluster already: left alone, merged or updated, as Velero does it.
 * managedFields do not count as a difference: they tell who wrote, not what. */
#include "core/restore/podvolumes.h"

#include <string.h>

#include "base/error.h"

void vmbi_restore_reset(vmbi_json *obj)
{
    static const char *const fields[] = {
        "generateName",      "selfLink",        "uid",
        "resourceVersion",   "generation",      "creationTimestamp",
        "deletionTimestamp", "ownerReferences", "deletionGracePeriodSeconds",
    };
    vmbi_json *meta = vmbi_json_get(obj, "metadata");
    for (size_t i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        vmbi_json_del(meta, fields[i]);
    }
    vmbi_json_del(obj, "status");
}

bool vmbi_restore_label(const vmbi_restore *r, vmbi_json *obj)
{
    vmbi_json *labels = vmbi_json_ensure_object(vmbi_json_ensure_object(obj, "metadata"), "labels");
    return labels != NULL && vmbi_json_set_str(labels, "velero.io/backup-name", r->backup_label) &&
           vmbi_json_set_str(labels, "velero.io/restore-name", r->restore_label);
}

/* What is new or different in `to`. */
static bool diff_members(const vmbi_json *from, const vmbi_json *to, vmbi_json *patch)
{
    bool ok = true;
    for (void *it = vmbi_json_iter(to); it != NULL && ok; it = vmbi_json_iter_next(to, it)) {
        const char *key = vmbi_json_iter_key(it);
        vmbi_json *value = vmbi_json_iter_value(it);
        vmbi_json *old = vmbi_json_get(from, key);
        if (old != NULL && vmbi_json_equal(old, value)) {
            continue;
        }
        if (vmbi_json_is_object(old) && vmbi_json_is_object(value)) {
            ok = vmbi_json_set(patch, key, vmbi_merge_diff(old, value));
        } else {
            ok = vmbi_json_set(patch, key, vmbi_json_copy(value));
        }
    }
    return ok;
}

vmbi_json *vmbi_merge_diff(const vmbi_json *from, const vmbi_json *to)
{
    vmbi_json *patch = vmbi_json_object();
    bool ok = patch != NULL && diff_members(from, to, patch);
    for (void *it = vmbi_json_iter(from); it != NULL && ok; it = vmbi_json_iter_next(from, it)) {
        const char *key = vmbi_json_iter_key(it);
        ok = vmbi_json_get(to, key) != NULL || vmbi_json_set(patch, key, vmbi_json_null());
    }
    if (!ok) {
        vmbi_json_free(patch);
        return NULL;
    }
    return patch;
}

/* ---- service accounts ---------------------------------------------------------------------- */

/* References of `extra` whose names `list` lacks. */
static bool merge_references(vmbi_json *obj, const char *field, const vmbi_json *extra)
{
    if (vmbi_json_len(extra) == 0) {
        return true;
    }
    vmbi_json *list = vmbi_json_get(obj, field);
    if (list == NULL) {
        return vmbi_json_set(obj, field, vmbi_json_copy(extra));
    }
    for (size_t i = 0; i < vmbi_json_len(extra); i++) {
        const vmbi_json *ref = vmbi_json_at(extra, i);
        bool found = false;
        for (size_t k = 0; k < vmbi_json_len(list) && !found; k++) {
            found = vmbi_streq(vmbi_json_get_str(vmbi_json_at(list, k), "name"),
                               vmbi_json_get_str(ref, "name"));
        }
        if (!found && !vmbi_json_append(list, vmbi_json_copy(ref))) {
            return false;
        }
    }
    return true;
}

static bool merge_map(vmbi_json *meta, const char *field, const vmbi_json *extra)
{
    vmbi_json *map = vmbi_json_len(extra) > 0 ? vmbi_json_ensure_object(meta, field) : meta;
    bool ok = map != NULL;
    for (void *it = vmbi_json_iter(extra); it != NULL && ok; it = vmbi_json_iter_next(extra, it)) {
        const char *key = vmbi_json_iter_key(it);
        ok = vmbi_json_get(map, key) != NULL ||
             vmbi_json_set(map, key, vmbi_json_copy(vmbi_json_iter_value(it)));
    }
    return ok;
}

static vmbi_json *merge_account(const vmbi_json *live, const vmbi_json *obj)
{
    vmbi_json *merged = vmbi_json_copy(live);
    vmbi_json *meta = vmbi_json_ensure_object(merged, "metadata");
    bool ok = meta != NULL;
    ok = ok && merge_references(merged, "secrets", vmbi_json_get(obj, "secrets"));
    ok = ok && merge_references(merged, "imagePullSecrets", vmbi_json_get(obj, "imagePullSecrets"));
    ok = ok && merge_map(meta, "labels", vmbi_json_path(obj, "metadata.labels"));
    ok = ok && merge_map(meta, "annotations", vmbi_json_path(obj, "metadata.annotations"));
    if (!ok) {
        vmbi_json_free(merged);
        return NULL;
    }
    return merged;
}

/* ---- patching ------------------------------------------------------------------------------ */

static vmb_code apply(vmbi_restore *r, const vmbi_restore_place *at, const vmbi_json *from,
                      const vmbi_json *to, bool *changed, vmb_error **err)
{
    vmbi_json *patch = vmbi_merge_diff(from, to);
    char *text = NULL;
    size_t len = 0;
    vmb_code rc = patch != NULL ? vmbi_json_to_text(patch, &text, &len, err) : vmbi_fail_nomem(err);
    *changed = vmbi_json_len(patch) > 0;
    if (rc == VMB_OK && *changed) {
        rc = vmbi_cluster_patch(&r->cluster, &r->job, at->group, at->version, at->resource, at->ns,
                                at->name, NULL, VMB_PATCH_MERGE, text, len, NULL, err);
    }
    vmb_free(text);
    vmbi_json_free(patch);
    return rc;
}

/* The live object without the labels of restores, which the patch shall set in any case. */
static vmbi_json *without_labels(const vmbi_json *live)
{
    vmbi_json *copy = vmbi_json_copy(live);
    vmbi_json *labels = vmbi_json_get(vmbi_json_get(copy, "metadata"), "labels");
    vmbi_json_del(labels, "velero.io/backup-name");
    vmbi_json_del(labels, "velero.io/restore-name");
    return copy;
}

/* Only the labels of this restore. */
static void patch_labels(vmbi_restore *r, const vmbi_ritem *item, const vmbi_restore_place *at,
                         const vmbi_json *live, const vmbi_json *labelled)
{
    vmb_error *why = NULL;
    bool changed = false;
    vmbi_json *bare = without_labels(live);
    vmb_code rc =
        bare != NULL ? apply(r, at, bare, labelled, &changed, &why) : vmbi_fail_nomem(&why);
    vmbi_json_free(bare);
    if (rc != VMB_OK && !vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_error(r, item->target, why, "labels of %s", item->name);
    }
    vmb_error_free(why);
}

static const vmbi_restored *update(vmbi_restore *r, const vmbi_ritem *item,
                                   const vmbi_restore_place *at, const vmbi_json *live,
                                   const vmbi_json *labelled, const vmbi_json *wanted,
                                   bool labels_too)
{
    vmb_error *why = NULL;
    bool changed = false;
    vmbi_json *bare = labels_too ? without_labels(live) : vmbi_json_copy(live);
    vmb_code rc = bare != NULL ? apply(r, at, bare, wanted, &changed, &why) : vmbi_fail_nomem(&why);
    vmbi_json_free(bare);
    if (rc == VMB_OK) {
        return changed ? &vmbi_restored_updated : &vmbi_restored_present;
    }
    if (!vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_warn(r, item->target, why, "update %s", item->name);
        if (r->policy_update) {
            patch_labels(r, item, at, live, labelled);
        }
    }
    vmb_error_free(why);
    return &vmbi_restored_clash;
}

/* ---- the decision -------------------------------------------------------------------------- */

static const vmbi_restored *differs(vmbi_restore *r, const vmbi_ritem *item,
                                    const vmbi_restore_place *at, const vmbi_json *live,
                                    const vmbi_json *labelled, const vmbi_json *wanted)
{
    const char *kind = vmbi_json_get_str(wanted, "kind");
    if (strcmp(at->resource, "serviceaccounts") == 0 && at->group[0] == '\0') {
        vmbi_json *merged = merge_account(labelled, wanted);
        if (merged == NULL) {
            vmbi_restore_break(r, VMB_E_NOMEM, NULL);
            return &vmbi_restored_failed;
        }
        const vmbi_restored *what = update(r, item, at, labelled, labelled, merged, false);
        vmbi_json_free(merged);
        return what;
    }
    if (r->policy_update) {
        return update(r, item, at, live, labelled, wanted, true);
    }
    vmbi_restore_warn(r, item->target, NULL,
                      r->policy_none
                          ? "could not restore, %s \"%s\" already exists. Warning: the in-cluster "
                            "version is different than the backed-up version"
                          : "could not restore, %s:%s already exists. Warning: the in-cluster "
                            "version is different than the backed-up version",
                      kind != NULL ? kind : "", at->name);
    return &vmbi_restored_clash;
}

/* That the content of a claim is to come tells about the claim in the cluster: it is no difference,
 * and no update may set it or take it away. */
static void ignore_content_note(vmbi_json *obj)
{
    vmbi_json *meta = vmbi_json_get(obj, "metadata");
    vmbi_json *notes = vmbi_json_get(meta, "annotations");
    if (vmbi_json_get(notes, VMBI_CONTENT_NOTE) != NULL) {
        vmbi_json_del(notes, VMBI_CONTENT_NOTE);
        if (vmbi_json_len(notes) == 0) {
            vmbi_json_del(meta, "annotations");
        }
    }
}

static const vmbi_restored *compare(vmbi_restore *r, const vmbi_ritem *item,
                                    const vmbi_restore_place *at, vmbi_json *live)
{
    vmbi_json *wanted = vmbi_json_copy(item->obj);
    vmbi_json *labelled = NULL;
    const vmbi_restored *what = &vmbi_restored_present;
    vmbi_restore_reset(live);
    vmbi_json_del(vmbi_json_get(live, "metadata"), "managedFields");
    vmbi_json_del(vmbi_json_get(wanted, "metadata"), "managedFields");
    ignore_content_note(live);
    ignore_content_note(wanted);
    labelled = vmbi_json_copy(live);
    if (wanted == NULL || labelled == NULL || !vmbi_restore_label(r, labelled)) {
        vmbi_restore_break(r, VMB_E_NOMEM, NULL);
        what = &vmbi_restored_failed;
    } else if (!vmbi_json_equal(labelled, wanted)) {
        what = differs(r, item, at, live, labelled, wanted);
    } else if (r->policy_update) {
        patch_labels(r, item, at, live, labelled);
    }
    vmbi_json_free(wanted);
    vmbi_json_free(labelled);
    return what;
}

const vmbi_restored *vmbi_restore_existing(vmbi_restore *r, vmbi_ritem *item,
                                           const vmbi_restore_place *at)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *live = NULL;
    vmb_error *why = NULL;
    const vmbi_restored *what = &vmbi_restored_failed;
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, at->group, at->version, at->resource,
                                   at->ns, at->name, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, at->name, &live, &why);
    }
    if (rc == VMB_OK && vmbi_restore_has_made(r, item, live)) {
        what = &vmbi_restored_created;
    } else if (rc == VMB_OK) {
        what = compare(r, item, at, live);
    } else if (!vmbi_restore_is_over(r, rc, &why)) {
        vmbi_restore_warn(r, item->target, why, "%s exists and cannot be read", at->name);
    }
    vmb_error_free(why);
    vmbi_json_free(live);
    vmbi_buf_free(&text);
    return what;
}
