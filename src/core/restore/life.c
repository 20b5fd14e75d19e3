/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a restore: New → InProgress → Finalizing → Completed, PartiallyFailed, Failed; or
 * FailedValidation at once. */
#include "core/restore/restore.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "core/backup.h"
#include "core/catalog.h"
#include "core/outcome.h"
#include "core/restore/hooks.h"
#include "core/restore/podvolumes.h"
#include "model/labelname.h"
#include "model/restore.h"

enum { MAX_SIDE_FILE = 64 * 1024 * 1024, MAX_METADATA = 4 * 1024 * 1024 };

/* ---- finding the backup -------------------------------------------------------------------- */

static vmb_code to_buf(void *user, const void *data, size_t len)
{
    vmbi_buf *b = user;
    vmbi_buf_add(b, data, len);
    return b->status;
}

static vmb_code read_backup(vmbi_restore *r, const vmbi_store_location *l, const char *name,
                            vmbi_json **out, vmb_error **err)
{
    vmbi_store store = {l, r->ctx->settings.resource_timeout_ns};
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(MAX_METADATA);
    vmb_code rc = vmbi_backup_file(name, "velero-backup.json", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_get(&store, &r->job, path.data, &text, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, path.data, out, err);
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return rc;
}

/* The default location first, then the others. */
static const vmbi_store_location *location_at(const vmb_ctx *ctx, size_t i)
{
    size_t first = 0;
    while (first < ctx->n_locations && !ctx->locations[first].is_default) {
        first++;
    }
    if (first == ctx->n_locations) {
        first = 0;
    }
    return &ctx->locations[i == 0 ? first : i <= first ? i - 1 : i];
}

static vmb_code find_backup(vmbi_restore *r, vmb_error **err)
{
    vmb_error *why = NULL;
    for (size_t i = 0; i < r->ctx->n_locations; i++) {
        const vmbi_store_location *l = location_at(r->ctx, i);
        vmb_error_free(vmbi_steal(&why));
        vmb_code rc = read_backup(r, l, r->backup_name, &r->backup, &why);
        if (rc == VMB_OK) {
            r->store = (vmbi_store){l, r->ctx->settings.resource_timeout_ns};
            r->job.store = &l->store;
            r->job.store_prefix = l->prefix;
            return VMB_OK;
        }
        if (rc != VMB_E_NOT_FOUND) {
            vmbi_error_move(err, &why);
            return rc;
        }
    }
    vmb_error_free(why);
    return vmbi_fail(err, VMB_E_NOT_FOUND, "backup %s does not exist in any storage location",
                     r->backup_name);
}

/* Of the schedule's Completed backups the one that started last. */
static vmb_code latest_of(vmbi_restore *r, const char *schedule, vmbi_buf *out, vmb_error **err)
{
    char label[VMBI_LABEL_NAME_SIZE];
    int64_t best = -1;
    vmb_code rc = VMB_OK;
    vmbi_label_valid_name(schedule, label);
    for (size_t i = 0; i < r->ctx->n_locations && rc == VMB_OK; i++) {
        vmb_catalog *cat = NULL;
        vmbi_json *list = NULL;
        rc = vmbi_catalog_open(r->ctx, location_at(r->ctx, i)->name, &cat, err);
        if (rc == VMB_OK) {
            rc = vmbi_catalog_list(cat, &list, err);
        }
        for (size_t k = 0; rc == VMB_OK && k < vmbi_json_len(list); k++) {
            const vmbi_json *b = vmbi_json_at(list, k);
            const char *of =
                vmbi_json_get_str(vmbi_json_path(b, "metadata.labels"), "velero.io/schedule-name");
            const char *start = vmbi_json_path_str(b, "status.startTimestamp");
            int64_t at = 0;
            if (vmbi_streq(of, label) &&
                vmbi_streq(vmbi_json_path_str(b, "status.phase"), "Completed") && start != NULL &&
                vmbi_parse_rfc3339(start, &at) && at > best) {
                best = at;
                vmbi_buf_reset(out);
                vmbi_buf_adds(out, vmbi_json_path_str(b, "metadata.name"));
            }
        }
        vmbi_json_free(list);
        vmbi_catalog_free(cat);
    }
    if (rc == VMB_OK && best < 0) {
        rc =
            vmbi_fail(err, VMB_E_NOT_FOUND, "No completed backups found for schedule %s", schedule);
    }
    return rc == VMB_OK ? vmbi_buf_check(out, err, "name of a backup") : rc;
}

static vmb_code resolve_schedule(vmbi_restore *r, vmb_error **err)
{
    vmbi_json *spec = vmbi_json_get(r->resource, "spec");
    const char *schedule = vmbi_json_get_str(spec, "scheduleName");
    const char *backup = vmbi_json_get_str(spec, "backupName");
    vmb_code rc = VMB_OK;
    if (schedule != NULL && schedule[0] != '\0' && (backup == NULL || backup[0] == '\0')) {
        vmbi_buf name = VMBI_BUF_INIT(1024);
        rc = latest_of(r, schedule, &name, err);
        if (rc == VMB_OK && !vmbi_json_set_str(spec, "backupName", name.data)) {
            rc = vmbi_fail_nomem(err);
        }
        vmbi_buf_free(&name);
    }
    r->backup_name = vmbi_json_get_str(spec, "backupName");
    return rc;
}

/* ---- side files of the backup -------------------------------------------------------------- */

static vmb_code read_side_file(vmbi_restore *r, int32_t file, vmbi_json **out, vmb_error **err)
{
    vmb_catalog cat = {.ctx = r->ctx, .store = r->store};
    vmbi_buf text = VMBI_BUF_INIT(MAX_SIDE_FILE);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_read(&cat, r->backup_name, file, to_buf, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, "side file", out, &why);
    } else if (rc == VMB_E_NOT_FOUND) { /* older versions wrote fewer files */
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_buf_free(&text);
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code read_volumes(vmbi_restore *r, vmb_error **err)
{
    vmbi_json *list = NULL;
    vmb_code rc = read_side_file(r, VMB_FILE_VOLUME_INFO, &list, err);
    r->volume_info = rc == VMB_OK ? vmbi_json_object() : NULL;
    if (rc == VMB_OK && r->volume_info == NULL) {
        rc = vmbi_fail_nomem(err);
    }
    for (size_t i = 0; rc == VMB_OK && i < vmbi_json_len(list); i++) {
        vmbi_json *e = vmbi_json_at(list, i);
        const char *name = vmbi_json_get_str(e, "pvName");
        if (name != NULL && name[0] != '\0' &&
            !vmbi_json_set(r->volume_info, name, vmbi_json_ref(e))) {
            rc = vmbi_fail_nomem(err);
        }
    }
    vmbi_json_free(list);
    return rc == VMB_OK ? read_side_file(r, VMB_FILE_POD_VOLUME_BACKUPS, &r->pod_volumes, err) : rc;
}

/* ---- preparing ----------------------------------------------------------------------------- */

static vmb_code open_restore(vmb_run *run, vmbi_restore *r, vmb_error **err)
{
    vmb_code rc = vmbi_restore_defaulted(vmbi_spec_root(run->spec), &r->resource, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_json *meta = vmbi_json_get(r->resource, "metadata");
    r->own_uid = vmbi_json_get_str(meta, "uid") == NULL;
    bool ok = vmbi_outcome_identify(meta, r->ctx->settings.ns, r->start_unix_ns);
    r->volumes = vmbi_json_array();
    r->hook_pods = vmbi_json_array();
    r->volume_pods = vmbi_json_array();
    if (!ok || r->volumes == NULL || r->hook_pods == NULL || r->volume_pods == NULL) {
        return vmbi_fail_nomem(err);
    }
    r->spec = vmbi_json_get(r->resource, "spec");
    r->name = vmbi_json_get_str(meta, "name");
    r->name = r->name != NULL ? r->name : "";
    r->uid = vmbi_json_get_str(meta, "uid");
    const char *policy = vmbi_json_get_str(r->spec, "existingResourcePolicy");
    r->policy_update = vmbi_streq(policy, "update");
    r->policy_none = vmbi_streq(policy, "none");
    r->restore_pvs = vmbi_json_bool(vmbi_json_get(r->spec, "restorePVs"), true);
    rc = vmbi_runlog_init_kind(&r->log, r->ctx->settings.log_level, "restore", r->ctx->settings.ns,
                               r->name, r->events, err);
    r->log.fn = r->ctx->log_fn != NULL ? vmbi_restore_log_line : NULL;
    r->log.fn_user = r;
    return rc;
}

/* Providers and threads log through the restore, which has the lock. */
static void job_log(void *user, int32_t level, const char *msg)
{
    vmbi_restore *r = user;
    (void)pthread_mutex_lock(&r->lock);
    vmbi_runlog_add(&r->log, level, NULL, "%s", msg);
    (void)pthread_mutex_unlock(&r->lock);
}

static vmb_code connect_cluster(vmbi_restore *r, vmb_error **err)
{
    if (r->ctx->cluster.create == NULL || r->ctx->cluster.patch == NULL) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "restore: the cluster is read-only");
    }
    vmb_code rc = vmbi_cluster_open(&r->cluster, &r->ctx->cluster,
                                    r->ctx->settings.resource_timeout_ns, &r->job, err);
    if (rc == VMB_OK) {
        r->job.cluster = &r->cluster;
        rc = vmbi_restore_filter_new(r->spec, r->cluster.discovery, NULL, &r->filter, err);
    }
    return rc;
}

/* The rules of spec.resourceModifier: a ConfigMap with one value in the namespace of Velero. */
static vmb_code read_modifiers(vmbi_restore *r, vmbi_problems *problems, vmb_error **err)
{
    const char *name = vmbi_json_path_str(r->spec, "resourceModifier.name");
    vmbi_buf text = VMBI_BUF_INIT(VMBI_OBJECT_MAX_BYTES);
    vmbi_json *map = NULL;
    vmb_error *why = NULL;
    if (name == NULL) {
        return VMB_OK;
    }
    vmb_code rc = vmbi_cluster_get(&r->cluster, &r->job, "", "v1", "configmaps",
                                   r->ctx->settings.ns, name, &text, &why);
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, name, &map, &why);
    }
    void *it = vmbi_json_iter(vmbi_json_get(map, "data"));
    if (rc == VMB_OK && vmbi_json_len(vmbi_json_get(map, "data")) != 1) {
        rc = vmbi_fail(&why, VMB_E_INVALID, "the ConfigMap must have exactly one value");
    }
    if (rc == VMB_OK) {
        const vmbi_json *v = vmbi_json_iter_value(it);
        rc = vmbi_modifiers_parse(vmbi_json_is_string(v) ? vmbi_json_str(v) : "",
                                  vmbi_json_str_len(v), name, &r->modifiers, &why);
    }
    if (rc == VMB_E_NOT_FOUND || rc == VMB_E_INVALID) {
        vmbi_problems_add(problems, true, "spec.resourceModifier", NULL,
                          "resource modifiers of the ConfigMap %s/%s: %s", r->ctx->settings.ns,
                          name, vmb_error_message(why));
        vmb_error_free(vmbi_steal(&why));
        rc = VMB_OK;
    }
    vmbi_json_free(map);
    vmbi_buf_free(&text);
    vmbi_error_move(err, &why);
    return rc;
}

/* Collects what is wrong with the restore. A failure is another matter: the store or the cluster
 * could not be asked. */
static vmb_code validate(vmb_run *run, vmbi_restore *r, vmbi_problems *problems, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_spec_validate(run->spec, problems, err);
    if (rc != VMB_OK || problems->errors > 0) {
        return rc;
    }
    rc = resolve_schedule(r, &why);
    if (rc == VMB_OK) {
        rc = find_backup(r, &why);
    }
    if (rc == VMB_E_NOT_FOUND) {
        vmbi_problems_add(problems, true, "spec", NULL, "%s", vmb_error_message(why));
        vmb_error_free(why);
        return VMB_OK;
    }
    if (rc == VMB_OK) {
        vmbi_label_valid_name(r->backup_name, r->backup_label);
        vmbi_label_valid_name(r->name, r->restore_label);
        rc = connect_cluster(r, &why);
    }
    if (rc == VMB_OK) {
        rc = read_modifiers(r, problems, &why);
    }
    if (rc == VMB_OK) {
        rc = vmbi_restore_read_plugins(r, &why);
    }
    if (rc == VMB_OK && r->store.location->read_only) {
        vmbi_restore_info(r, NULL, "location %s is read-only: no files of the restore are stored",
                          r->store.location->name);
    }
    vmbi_error_move(err, &why);
    return rc;
}

/* ---- status -------------------------------------------------------------------------------- */

static vmb_code set_status(vmbi_restore *r, const char *phase, const char *failure,
                           const vmbi_strs *validation_errors, vmb_error **err)
{
    vmbi_json *s = vmbi_json_object();
    vmbi_outcome o = {
        .phase = phase,
        .failure = failure,
        .validation_errors = validation_errors,
        .start_unix_ns = r->start_unix_ns,
        .completion_unix_ns = r->completion_unix_ns,
        .items = (int64_t)r->items.n,
        .items_key = "itemsRestored",
        .hooks_attempted = r->hooks_attempted,
        .hooks_failed = r->hooks_failed,
        .log = &r->log,
    };
    bool ok = s != NULL && vmbi_outcome_status(s, &o);
    if (ok && r->hooks_attempted == 0) {
        vmbi_json_del(s, "hookStatus"); /* Velero's backups have it in any case, its restores not */
    }
    if (!ok) {
        vmbi_json_free(s);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_set(r->resource, "status", s) ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code refuse(vmb_run *run, vmbi_restore *r, const vmbi_problems *problems,
                       vmb_error **err)
{
    vmbi_strs lines = {0};
    (void)vmbi_problems_error_lines(problems, &lines, NULL);
    (void)set_status(r, "FailedValidation", NULL, &lines, NULL); /* the error is returned */
    vmbi_strs_free(&lines);
    return vmbi_problems_check(problems, run->spec->source, err);
}

/* ---- the steps ----------------------------------------------------------------------------- */

/* Only what can never be wanted is left out: an object may be named by another one. */
static bool keeps(void *user, const char *group_resource)
{
    const vmbi_restore *r = user;
    (void)r;
    for (const char *const *n = vmbi_restore_never; *n != NULL; n++) {
        if (strcmp(*n, group_resource) == 0) {
            return false;
        }
    }
    return true;
}

static vmb_code read_archive(vmbi_restore *r, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(r->backup_name, "%s.tar.gz", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_index_load(&r->index, &r->store, &r->job, path.data, VMBI_INDEX_BUDGET_BYTES,
                             keeps, r, err);
    }
    vmbi_buf_free(&path);
    if (rc == VMB_OK && !r->index.has_resources) {
        vmbi_restore_warn(r, NULL, NULL, "zero items to be restored");
    }
    return rc;
}

static vmb_code restore_backup(vmb_run *run, vmbi_restore *r, const char **phase, vmb_error **err)
{
    vmbi_run_set_phase(run, "InProgress");
    vmb_code rc = read_volumes(r, err);
    vmbi_restore_begin_volumes(r);
    if (rc == VMB_OK) {
        rc = vmbi_restore_begin(r, err);
    }
    if (rc == VMB_OK) { /* after it: the uid may be that of the run that is continued */
        rc = vmbi_restore_read_wait(r, err);
    }
    if (rc == VMB_OK) {
        rc = read_archive(r, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_restore_all(r, err);
    }
    vmbi_restore_relay(r);
    if (rc == VMB_OK) {
        vmbi_run_set_phase(run, r->log.errors > 0 ? "FinalizingPartiallyFailed" : "Finalizing");
        vmbi_restore_enter(r, VMBI_RESTORE_VOLUMES);
        vmbi_restore_pod_volumes(r);
        vmbi_restore_enter(r, VMBI_RESTORE_HOOKS);
        vmbi_restore_run_hooks(r);
        vmbi_restore_patch_volumes(r);
        rc = vmbi_limits_check(&r->job.limits, err, "restore");
    }
    if (rc == VMB_OK && r->log.status != VMB_OK) {
        rc = vmbi_fail(err, r->log.status, "log of the restore: %s", vmb_code_name(r->log.status));
    }
    if (rc != VMB_OK && r->noted) {
        vmbi_restore_info(r, NULL, "a run with the same name and spec continues this restore");
    }
    *phase = rc != VMB_OK ? "Failed" : r->log.errors > 0 ? "PartiallyFailed" : "Completed";
    return rc;
}

/* What was restored is in the cluster: files that cannot be stored do not undo it. */
static void leave_files(vmbi_restore *r, bool ended)
{
    vmb_error *why = NULL;
    if (r->store.location == NULL || r->store.location->read_only) {
        return;
    }
    vmb_job job = r->job; /* also for a restore that was cancelled */
    r->job.limits = vmbi_limits_within(NULL, r->ctx->settings.resource_timeout_ns);
    if (vmbi_restore_put_files(r, &why) != VMB_OK && r->ctx->log_fn != NULL) {
        r->ctx->log_fn(r->ctx->log_user, VMB_LOG_WARNING, vmb_error_message(why));
    }
    if (ended) {
        vmbi_restore_end(r);
    }
    r->job = job;
    vmb_error_free(why);
}

static vmb_code execute(vmb_run *run, vmbi_restore *r, const char **phase, vmb_error **err)
{
    vmbi_problems problems = {.places = run->spec->places};
    *phase = "Failed";
    vmb_code rc = open_restore(run, r, err);
    if (rc == VMB_OK) {
        rc = validate(run, r, &problems, err);
    }
    if (rc == VMB_OK && problems.errors > 0) {
        *phase = "FailedValidation";
        rc = refuse(run, r, &problems, err);
    } else if (rc == VMB_OK) {
        vmbi_outcome_log(&r->log, &problems, NULL);
        rc = restore_backup(run, r, phase, err);
        r->completion_unix_ns = vmbi_unix_ns();
        vmb_error *why = NULL;
        vmb_code set = set_status(
            r, *phase, rc != VMB_OK && err != NULL ? vmb_error_message(*err) : NULL, NULL, &why);
        leave_files(r, rc == VMB_OK); /* with the outcome */
        vmbi_restore_relay(r);
        if (rc == VMB_OK) {
            rc = set;
            vmbi_error_move(err, &why);
        }
        vmb_error_free(why);
    } else if (r->resource != NULL) {
        r->completion_unix_ns = vmbi_unix_ns();
        (void)set_status(r, *phase, err != NULL ? vmb_error_message(*err) : "failed", NULL, NULL);
    }
    vmbi_problems_free(&problems);
    return rc;
}

static void close_restore(vmbi_restore *r)
{
    vmbi_index_free(&r->index);
    vmbi_restore_filter_free(r->filter);
    vmbi_cluster_close(&r->cluster);
    vmbi_discovery_free(r->former);
    vmbi_runlog_done(&r->log);
    vmbi_map_free(&r->items);
    vmbi_map_free(&r->refused);
    vmbi_map_free(&r->provision);
    vmbi_map_free(&r->tried);
    vmbi_json_free(r->wait);
    vmbi_map_free(&r->namespaces);
    vmbi_strs_free(&r->order);
    vmbi_json_free(r->volumes);
    vmbi_json_free(r->hook_pods);
    vmbi_json_free(r->volume_pods);
    vmbi_modifiers_free(r->modifiers);
    vmbi_json_free(r->class_map);
    vmbi_json_free(r->image_map);
    vmbi_json_free(r->volume_info);
    vmbi_json_free(r->pod_volumes);
    vmbi_json_free(r->backup);
    vmbi_json_free(r->resource);
    vmb_error_free(r->why);
    vmbi_events_done(&r->relay);
    (void)pthread_mutex_destroy(&r->lock);
    (void)pthread_mutex_destroy(&r->ns_lock);
    (void)pthread_cond_destroy(&r->ns_changed);
    (void)pthread_cond_destroy(&r->changed);
}

vmb_code vmbi_restore_execute(vmb_run *run, const char **phase, vmb_error **err)
{
    vmbi_restore r = {
        .ctx = run->ctx,
        .receiver = &run->events,
        .start_unix_ns = vmbi_unix_ns(),
        .items = VMBI_MAP_INIT(NULL),
        .refused = VMBI_MAP_INIT(NULL),
        .provision = VMBI_MAP_INIT(NULL),
        .tried = VMBI_MAP_INIT(NULL),
        .namespaces = VMBI_MAP_INIT(NULL),
    };
    (void)pthread_mutex_init(&r.lock, NULL);
    (void)pthread_mutex_init(&r.ns_lock, NULL);
    (void)pthread_cond_init(&r.ns_changed, NULL);
    (void)pthread_cond_init(&r.changed, NULL);
    r.job.limits.cancel = run->cancel;
    r.job.log = job_log;
    r.job.log_user = &r;
    r.events = &r.relay;
    int64_t start = vmbi_mono_ns();
    vmb_error *why = NULL;
    vmb_code rc = vmbi_events_init(&r.relay, &why);
    if (rc == VMB_OK) {
        rc = execute(run, &r, phase, &why);
        vmbi_restore_relay(&r);
    } else {
        r.relay.fd = -1;
    }
    vmb_code reported = vmbi_outcome_report(run, "restore", r.resource, &r.log,
                                            vmbi_mono_ns() - start, NULL,
                                            rc == VMB_OK ? &why : NULL);
    close_restore(&r);
    vmbi_error_move(err, &why);
    return rc != VMB_OK ? rc : reported;
}
