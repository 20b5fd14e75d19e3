/* SPDX-License-Identifier: Apache-2.0 */
/* Backups that lie in a location become Backup objects; objects whose backup has vanished go. */
#include "core/control/control.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "core/catalog.h"
#include "core/control/recover.h"
#include "model/labelname.h"

enum { RECORDS_MAX_BYTES = 64 << 20 };

static const char velero[] = "velero.io";

/* ---- taking one in ------------------------------------------------------------------------ */

/* Finished, or so old that nobody will finish it: *as is the phase to give it. */
static bool is_importable(const vmbi_json *stored, const char **as)
{
    const char *phase = vmbi_json_path_str(stored, "status.phase");
    const char *expiration = vmbi_json_path_str(stored, "status.expiration");
    int64_t at = 0;
    phase = phase != NULL ? phase : "";
    *as = phase;
    if (!vmbi_phase_is_working(phase) && !vmbi_phase_is_waiting(phase)) {
        return true;
    }
    *as = "PartiallyFailed";
    return expiration != NULL && vmbi_parse_rfc3339(expiration, &at) && at < vmbi_unix_ns();
}

/* Owners are of the cluster that made it: only a Schedule that exists here with that uid stays. */
static bool fix_owners(vmb_control *c, vmbi_json *meta)
{
    vmbi_json *owners = vmbi_json_get(meta, "ownerReferences");
    for (size_t i = vmbi_json_len(owners); i > 0; i--) {
        vmbi_json *owner = vmbi_json_at(owners, i - 1);
        vmbi_json *schedule = NULL;
        const char *name = vmbi_json_get_str(owner, "name");
        bool stays = vmbi_streq(vmbi_json_get_str(owner, "kind"), "Schedule") && name != NULL &&
                     vmbi_object_get(c, VMBI_KIND_SCHEDULE, name, &schedule, NULL) == VMB_OK &&
                     vmbi_streq(vmbi_json_path_str(schedule, "metadata.uid"),
                                vmbi_json_get_str(owner, "uid"));
        vmbi_json_free(schedule);
        if (!stays) {
            vmbi_json_del_at(owners, i - 1);
        }
    }
    if (owners != NULL && vmbi_json_len(owners) == 0) {
        vmbi_json_del(meta, "ownerReferences");
    }
    return true;
}

static bool localize(vmb_control *c, const vmbi_located *l, vmbi_json *stored, const char *phase)
{
    static const char *const dropped[] = {"resourceVersion", "uid", "generation", "selfLink",
                                          "managedFields", "creationTimestamp",
                                          "deletionTimestamp", "deletionGracePeriodSeconds",
                                          "finalizers"};
    const char *location = l->store.location->name;
    char label[VMBI_LABEL_NAME_SIZE];
    vmbi_json *meta = vmbi_json_ensure_object(stored, "metadata");
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    vmbi_json *spec = vmbi_json_ensure_object(stored, "spec");
    vmbi_json *status = vmbi_json_ensure_object(stored, "status");
    if (labels == NULL || spec == NULL || status == NULL) {
        return false;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(dropped); i++) {
        vmbi_json_del(meta, dropped[i]);
    }
    vmbi_label_valid_name(location, label);
    return vmbi_json_set_str(meta, "namespace", c->ctx->settings.ns) &&
           vmbi_json_set_str(labels, "velero.io/storage-location", label) &&
           vmbi_json_set_str(spec, "storageLocation", location) &&
           vmbi_json_set_str(status, "phase", phase) && fix_owners(c, meta);
}

static vmb_code buf_write(void *user, const void *data, size_t len)
{
    vmbi_buf_add(user, data, len);
    return vmbi_buf_check(user, NULL, "records of pod volumes");
}

/* The backup's PodVolumeBackups, which a restore and `velero backup describe` look for. */
static void import_records(vmb_control *c, const vmbi_located *l, const char *name, const char *uid)
{
    vmbi_buf text = VMBI_BUF_INIT(RECORDS_MAX_BYTES);
    vmbi_json *list = NULL;
    vmb_catalog *cat = NULL;
    vmb_code rc = vmbi_catalog_open(l->ctx, l->store.location->name, &cat, NULL);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_read(cat, name, VMB_FILE_POD_VOLUME_BACKUPS, buf_write, &text, NULL);
    }
    if (rc == VMB_OK && text.len > 0) {
        (void)vmbi_json_parse(text.data, text.len, name, &list, NULL);
    }
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        vmbi_json *record = vmbi_json_copy(vmbi_json_at(list, i));
        vmbi_json *meta = vmbi_json_ensure_object(record, "metadata");
        vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
        vmbi_json *spec = vmbi_json_ensure_object(record, "spec");
        vmbi_json *owner = vmbi_json_at(vmbi_json_get(meta, "ownerReferences"), 0);
        static const char *const dropped[] = {"resourceVersion", "uid", "generation",
                                              "managedFields", "creationTimestamp"};
        bool ok = labels != NULL && spec != NULL;
        for (size_t k = 0; k < VMBI_ARRAY_LEN(dropped) && ok; k++) {
            vmbi_json_del(meta, dropped[k]);
        }
        ok = ok && vmbi_json_set_str(record, "apiVersion", "velero.io/v1") &&
             vmbi_json_set_str(record, "kind", "PodVolumeBackup") &&
             vmbi_json_set_str(meta, "namespace", c->ctx->settings.ns) &&
             vmbi_json_set_str(spec, "backupStorageLocation", l->store.location->name) &&
             vmbi_json_set_str(labels, "velero.io/backup-uid", uid) &&
             (owner == NULL || vmbi_json_set_str(owner, "uid", uid));
        if (ok) {
            (void)vmbi_object_create(c, velero, "v1", "podvolumebackups", record, NULL, NULL);
        } else {
            vmbi_json_free(record);
        }
    }
    vmbi_json_free(list);
    vmbi_catalog_free(cat);
    vmbi_buf_free(&text);
}

static vmb_code import(vmb_control *c, const vmbi_located *l, const char *name, vmb_error **err)
{
    vmbi_json *stored = NULL;
    vmbi_json *made = NULL;
    vmb_error *why = NULL;
    const char *phase = "";
    vmb_code rc = vmbi_located_metadata(c, l, name, &stored, &why);
    if (rc != VMB_OK || !is_importable(stored, &phase)) {
        if (rc != VMB_OK && rc != VMB_E_NOT_FOUND) {
            vmbi_control_log(c, VMB_LOG_WARNING, "sync: %s", vmb_error_message(why));
        }
        vmb_error_free(why); /* not a backup (yet); the others go on */
        vmbi_json_free(stored);
        return VMB_OK;
    }
    rc = localize(c, l, stored, phase) ? VMB_OK : vmbi_fail_nomem(&why);
    if (rc == VMB_OK) {
        rc = vmbi_object_create(c, velero, "v1", "backups", vmbi_json_ref(stored), &made, &why);
    }
    if (rc == VMB_OK) {
        const char *uid = vmbi_json_path_str(made, "metadata.uid");
        vmbi_control_log(c, VMB_LOG_INFO, "backup %s was found in location %s", name,
                         l->store.location->name);
        import_records(c, l, name, uid != NULL ? uid : "");
    } else if (rc != VMB_E_EXISTS && rc != VMB_E_CANCELLED) {
        vmbi_control_log(c, VMB_LOG_WARNING, "sync: %s", vmb_error_message(why));
    }
    bool over = rc == VMB_E_CANCELLED || rc == VMB_E_NOMEM;
    vmbi_error_move(over ? err : NULL, &why);
    vmbi_json_free(stored);
    vmbi_json_free(made);
    return over ? rc : VMB_OK;
}

/* ---- one location ------------------------------------------------------------------------- */

/* The location's Backups whose files must be in it, and those that a deletion has hold of. */
typedef struct known {
    const char *location;
    vmbi_strs finished;
    vmbi_strs deleting;
    vmb_code rc;
} known;

static void note_known(void *user, const vmbi_cached *e)
{
    known *k = user;
    const char *phase = vmbi_cached_field(e, VMBI_BACKUP_PHASE);
    if (k->rc != VMB_OK || strcmp(vmbi_cached_field(e, VMBI_BACKUP_LOCATION), k->location) != 0) {
        return;
    }
    if (strcmp(phase, "Completed") == 0 || strcmp(phase, "PartiallyFailed") == 0) {
        k->rc = vmbi_strs_add(&k->finished, e->name, NULL);
    } else if (strcmp(phase, "Deleting") == 0) {
        k->rc = vmbi_strs_add(&k->deleting, e->name, NULL);
    }
}

static bool has(const vmbi_strs *sorted, const char *name)
{
    size_t low = 0;
    size_t high = sorted->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(sorted->v[mid], name);
        if (order == 0) {
            return true;
        }
        low = order < 0 ? mid + 1 : low;
        high = order < 0 ? high : mid;
    }
    return false;
}

/* The cache may be behind: an object that was made anew meanwhile has no files yet. */
static vmb_code drop_vanished(vmb_control *c, const char *name, const char *location,
                              vmb_error **err)
{
    vmbi_json *tree = NULL;
    vmb_error *why = NULL;
    vmb_code rc = vmbi_object_get(c, VMBI_KIND_BACKUP, name, &tree, &why);
    const char *phase = vmbi_json_path_str(tree, "status.phase");
    if (rc == VMB_OK && (vmbi_streq(phase, "Completed") || vmbi_streq(phase, "PartiallyFailed")) &&
        vmbi_streq(vmbi_json_path_str(tree, "spec.storageLocation"), location)) {
        vmbi_control_log(c, VMB_LOG_INFO, "backup %s is no more in location %s", name, location);
        rc = vmbi_object_remove(c, VMBI_KIND_BACKUP, name, &why);
    }
    vmbi_json_free(tree);
    if (rc == VMB_E_NOT_FOUND) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code find_missing(const known *k, const vmbi_strs *stored, vmbi_strs *out,
                             vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < k->finished.n && rc == VMB_OK; i++) {
        if (!has(stored, k->finished.v[i])) {
            rc = vmbi_strs_add(out, k->finished.v[i], err);
        }
    }
    return rc;
}

/* A folder that is not mounted, and a bucket or prefix that was mistyped, look like a store from
 * which all backups have gone: an empty location takes no object away. Nor does one that is not
 * valid now, whatever its phase says. */
static vmb_code drop_missing(vmb_control *c, const vmbi_located *l, const known *k,
                             const vmbi_strs *stored, vmb_error **err)
{
    vmbi_strs missing = {0};
    vmb_code rc = find_missing(k, stored, &missing, err);
    bool held = rc == VMB_OK && stored->n == 0 && missing.n > 0;
    vmbi_metrics_set(&c->metrics, "location_missing_backups", k->location,
                     held ? (double)missing.n : 0);
    if (held) {
        vmbi_control_log(
            c, VMB_LOG_WARNING,
            "location %s holds no backup, and %zu Backups are of it: they stay; is its "
            "folder mounted, are its bucket and prefix right?",
            k->location, missing.n);
    } else if (rc == VMB_OK && missing.n > 0) {
        rc = vmbi_location_validate(l->ctx, l->store.location, c->stop, err);
        for (size_t i = 0; i < missing.n && rc == VMB_OK; i++) {
            rc = drop_vanished(c, missing.v[i], k->location, err);
        }
    }
    vmbi_strs_free(&missing);
    return rc;
}

/* What a deletion left that failed while the store could not be asked. */
static vmb_code give_back(vmb_control *c, const vmbi_located *l, const known *k, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    for (size_t i = 0; i < k->deleting.n && rc == VMB_OK; i++) {
        if (!vmbi_deletion_requested(c, k->deleting.v[i])) {
            rc = vmbi_backup_undelete(c, l, k->deleting.v[i], err);
        }
    }
    return rc;
}

static vmb_code sync_location(vmb_control *c, const vmbi_located *l, vmb_error **err)
{
    known k = {.location = l->store.location->name};
    vmbi_strs stored = {0};
    /* first the objects, then the store: a backup that ends in between is in both */
    vmbi_cached_each(c, VMBI_KIND_BACKUP, note_known, &k);
    vmb_code rc = k.rc != VMB_OK ? vmbi_fail_nomem(err) : vmbi_located_backups(c, l, &stored, err);
    vmbi_strs_sort(&stored);
    for (size_t i = 0; i < stored.n && rc == VMB_OK; i++) {
        if (!vmbi_cached_look(c, VMBI_KIND_BACKUP, stored.v[i], 0, NULL)) {
            rc = import(c, l, stored.v[i], err);
        }
    }
    if (rc == VMB_OK) {
        rc = drop_missing(c, l, &k, &stored, err);
    }
    if (rc == VMB_OK) {
        rc = give_back(c, l, &k, err);
    }
    vmbi_strs_free(&stored);
    vmbi_strs_free(&k.finished);
    vmbi_strs_free(&k.deleting);
    return rc;
}

/* Time until the next sync; negative: never. */
static int64_t due_in(const vmb_control *c, const vmbi_json *tree)
{
    const char *text = vmbi_json_path_str(tree, "spec.backupSyncPeriod");
    const char *last = vmbi_json_path_str(tree, "status.lastSyncedTime");
    int64_t period = c->settings.sync_ns;
    int64_t ns = 0;
    int64_t at = 0;
    if (text != NULL && vmbi_duration_parse(text, &ns) && ns >= 0) {
        period = ns;
    }
    if (period == 0) {
        return -1;
    }
    if (last == NULL || !vmbi_parse_rfc3339(last, &at)) {
        return 0;
    }
    return vmbi_unix_left(vmbi_unix_ns(), at, period);
}

static vmb_code write_synced(vmb_control *c, const char *name, vmb_error **err)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *status = vmbi_json_ensure_object(patch, "status");
    if (status == NULL || !vmbi_set_now(status, "lastSyncedTime")) {
        vmbi_json_free(patch);
        patch = NULL;
    }
    return vmbi_object_patch(c, VMBI_KIND_LOCATION, name, patch, VMBI_NORMAL, err);
}

vmb_code vmbi_reconcile_sync(vmb_control *c, vmbi_turn *turn, vmb_error **err)
{
    vmbi_located l = {0};
    vmb_error *why = NULL;
    vmb_code rc = vmbi_locate(c, turn->name, &l, &why);
    if (rc != VMB_OK) { /* the location's own loop says so in its phase */
        vmb_error_free(why);
        turn->again_ns = rc != VMB_E_NOT_FOUND ? c->settings.sync_ns : -1;
        return VMB_OK;
    }
    int64_t left = due_in(c, l.tree);
    if (left == 0 && strcmp(vmbi_located_phase(&l), "Available") == 0) {
        rc = sync_location(c, &l, err);
        if (rc == VMB_OK) {
            rc = write_synced(c, turn->name, err);
        }
        left = c->settings.sync_ns;
    }
    turn->again_ns = left == 0 ? c->settings.sync_ns : left;
    vmbi_metrics_set(&c->metrics, "backup_total", "",
                     (double)vmbi_cached_count(c, VMBI_KIND_BACKUP));
    vmbi_located_done(&l);
    return rc;
}
