/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a backup: New → InProgress → Finalizing → Completed, PartiallyFailed, Failed; or
 * FailedValidation at once. */
#include "core/run.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/duration.h"
#include "core/backup.h"
#include "core/catalog.h"
#include "core/outcome.h"
#include "core/plan.h"
#include "core/restore/restore.h"
#include "model/labelname.h"

static void set_phase(vmb_run *run, const char *phase)
{
    atomic_store_explicit(&run->phase, phase, memory_order_release);
    vmbi_events_emit(&run->events, VMB_EVENT_PHASE, VMB_LOG_INFO, "", phase, 0, -1);
}

void vmbi_run_set_phase(vmb_run *run, const char *phase)
{
    set_phase(run, phase);
}

vmb_code vmbi_run_new(vmb_ctx *ctx, const vmb_spec *spec, vmb_run **out, vmb_error **err)
{
    vmb_run *run = vmbi_zalloc(sizeof(*run));
    if (run == NULL) {
        return vmbi_fail_nomem(err);
    }
    run->events.fd = -1;
    atomic_init(&run->executing, false);
    atomic_init(&run->phase, "New");
    vmb_code rc = vmbi_spec_clone(spec, &run->spec, err);
    if (rc == VMB_OK) {
        rc = vmbi_cancel_new(&run->cancel, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_events_init(&run->events, err);
    }
    if (rc != VMB_OK) {
        vmbi_run_free(run);
        return rc;
    }
    run->ctx = vmb_ctx_ref(ctx);
    vmbi_ctx_freeze(ctx);
    *out = run;
    return VMB_OK;
}

void vmbi_run_free(vmb_run *run)
{
    if (run == NULL) {
        return;
    }
    if (run->events.fd >= 0) {
        vmbi_events_done(&run->events);
    }
    vmbi_cancel_free(run->cancel);
    vmbi_spec_free(run->spec);
    vmbi_json_free(run->report);
    if (run->ctx != NULL) {
        vmbi_ctx_unref(run->ctx);
    }
    vmbi_free(run);
}

/* ---- preparing ----------------------------------------------------------------------------- */

/* Fields that the server side of Velero would set: uid, creation time, labels, annotations. */
static bool set_metadata(vmbi_backup *b)
{
    vmbi_json *meta = vmbi_json_ensure_object(b->resource, "metadata");
    vmbi_json *labels = vmbi_json_ensure_object(meta, "labels");
    vmbi_json *notes = vmbi_json_ensure_object(meta, "annotations");
    char label[VMBI_LABEL_NAME_SIZE];
    char timeout[VMBI_DURATION_SIZE];
    if (meta == NULL || labels == NULL || notes == NULL) {
        return false;
    }
    bool ok = vmbi_outcome_identify(meta, b->ctx->settings.ns, b->start_unix_ns);
    vmbi_duration_format(b->ctx->settings.resource_timeout_ns, timeout);
    vmbi_label_valid_name(b->store.location->name, label);
    ok = ok && vmbi_json_set_str(labels, "velero.io/storage-location", label);
    ok = ok && vmbi_json_set_str(notes, "velero.io/source-cluster-k8s-gitversion",
                                 vmbi_discovery_git_version(b->cluster.discovery));
    ok = ok && vmbi_json_set_str(notes, "velero.io/source-cluster-k8s-major-version",
                                 vmbi_discovery_major(b->cluster.discovery));
    ok = ok && vmbi_json_set_str(notes, "velero.io/source-cluster-k8s-minor-version",
                                 vmbi_discovery_minor(b->cluster.discovery));
    ok = ok && vmbi_json_set_str(notes, "velero.io/resource-timeout", timeout);
    return ok;
}

/* What the run refuses before it starts, beyond the spec itself. */
static vmb_code check_location(const vmbi_backup *b, const vmb_error *missing,
                               vmbi_problems *problems)
{
    if (b->store.location == NULL) {
        vmbi_problems_add(problems, true, "spec.storageLocation", "name one that exists", "%s",
                          vmb_error_message(missing));
    } else if (b->store.location->read_only) {
        vmbi_problems_add(problems, true, "spec.storageLocation",
                          "choose a location with accessMode ReadWrite",
                          "the storage location %s is read-only", b->store.location->name);
    }
    return problems->status;
}

static vmb_code list_namespaces(vmbi_backup *b, vmb_error **err)
{
    return vmbi_collect_namespaces(b, &b->namespaces, &b->excluded_namespaces, err);
}

static vmb_code build_filter(vmbi_backup *b, vmbi_problems *problems, vmb_error **err)
{
    vmbi_filter_input in = {
        .spec = vmbi_json_get(b->resource, "spec"),
        .discovery = b->cluster.discovery,
        .namespaces = &b->namespaces,
        .excluded_namespaces = &b->excluded_namespaces,
        .policy = b->policy != NULL ? vmbi_policy_include_exclude(b->policy) : NULL,
    };
    vmb_code rc = vmbi_filter_new(&in, &b->filter, problems, err);
    if (rc == VMB_OK) {
        rc = vmbi_hooks_compile(vmbi_json_path(b->resource, "spec.hooks"), b->cluster.discovery,
                                &b->hooks, err);
    }
    vmbi_strs_free(&b->namespaces); /* the filter keeps what it needs */
    vmbi_strs_free(&b->excluded_namespaces);
    return rc;
}

/* ---- status -------------------------------------------------------------------------------- */

static int64_t count_operations(const vmbi_backup *b)
{
    int64_t n = 0;
    for (size_t i = 0; i < b->n_volumes; i++) {
        n += b->volumes[i]->operation != NULL ? 1 : 0;
    }
    return n;
}

static vmb_code set_status(vmbi_backup *b, const char *phase, const char *failure,
                           const vmbi_strs *validation_errors, vmb_error **err)
{
    vmbi_json *s = vmbi_json_object();
    int64_t ttl = vmbi_backup_duration_ns(vmbi_json_get(b->resource, "spec"), "ttl",
                                          VMBI_BACKUP_TTL_NS);
    int64_t done = count_operations(b);
    vmbi_outcome o = {
        .phase = phase,
        .failure = failure,
        .validation_errors = validation_errors,
        .start_unix_ns = b->start_unix_ns,
        .completion_unix_ns = b->completion_unix_ns,
        .items = b->archive.items,
        .items_key = "itemsBackedUp",
        .hooks_attempted = b->hooks_attempted,
        .hooks_failed = b->hooks_failed,
        .log = &b->log,
    };
    bool ok = s != NULL && vmbi_json_set_int(s, "version", 1);
    ok = ok && vmbi_json_set_str(s, "formatVersion", "1.1.0");
    ok = ok && vmbi_outcome_time(s, "expiration", b->start_unix_ns + ttl);
    ok = ok && vmbi_outcome_status(s, &o);
    ok = ok && vmbi_outcome_count(s, "csiVolumeSnapshotsAttempted", b->snapshots_attempted);
    ok = ok && vmbi_outcome_count(s, "csiVolumeSnapshotsCompleted", b->snapshots_completed);
    ok = ok && vmbi_outcome_count(s, "backupItemOperationsAttempted", done);
    ok = ok && vmbi_outcome_count(s, "backupItemOperationsCompleted", done);
    if (!ok) {
        vmbi_json_free(s);
        return vmbi_fail_nomem(err);
    }
    return vmbi_json_set(b->resource, "status", s) ? VMB_OK : vmbi_fail_nomem(err);
}

/* ---- the steps ----------------------------------------------------------------------------- */

/* *missing: why there is no location, when there is none (that is a matter of validation). */
static vmb_code open_backup(vmb_run *run, vmbi_backup *b, vmb_error **missing, vmb_error **err)
{
    const char *wanted = vmbi_json_path_str(vmbi_spec_root(run->spec), "spec.storageLocation");
    if (run->ctx->cluster.get == NULL) {
        return vmbi_fail(err, VMB_E_STATE, "no cluster provider is registered");
    }
    const vmbi_store_location *location = vmbi_ctx_location(run->ctx, wanted, missing);
    b->store = (vmbi_store){location, run->ctx->settings.resource_timeout_ns};
    vmb_code rc = vmbi_backup_defaulted(vmbi_spec_root(run->spec),
                                        location != NULL ? location->name : NULL, &b->resource,
                                        err);
    if (rc == VMB_OK) {
        b->name = vmbi_json_path_str(b->resource, "metadata.name");
        b->name = b->name != NULL ? b->name : "";
        rc = vmbi_runlog_init(&b->log, run->ctx->settings.log_level, run->ctx->settings.ns,
                              b->name, &run->events, err);
    }
    if (rc == VMB_OK) {
        b->log.fn = run->ctx->log_fn;
        b->log.fn_user = run->ctx->log_user;
        b->job.log = vmbi_runlog_job;
        b->job.log_user = &b->log;
        b->job.backup_name = b->name;
        b->job.store = location != NULL ? &location->store : NULL;
        b->job.store_prefix = location != NULL ? location->prefix : NULL;
    }
    return rc;
}

static vmb_code connect_cluster(vmb_run *run, vmbi_backup *b, vmb_error **err)
{
    vmb_code rc = vmbi_cluster_open(&b->cluster, &run->ctx->cluster,
                                    run->ctx->settings.resource_timeout_ns, &b->job, err);
    if (rc == VMB_OK && !set_metadata(b)) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_to_text(b->resource, &b->resource_json, NULL, err);
    }
    if (rc == VMB_OK) {
        b->job.cluster = &b->cluster;
        b->job.backup_json = b->resource_json;
    }
    return rc;
}

/* Collects what is wrong with the backup; *acceptable tells the outcome. A failure is another
 * one: the cluster could not be asked. */
static vmb_code validate(vmb_run *run, vmbi_backup *b, const vmb_error *missing,
                         vmbi_problems *problems, bool *acceptable, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_backup_validate(run->spec, problems, err);
    if (rc == VMB_OK) {
        rc = check_location(b, missing, problems);
    }
    if (rc == VMB_OK && problems->errors == 0) {
        rc = connect_cluster(run, b, err);
        rc = rc == VMB_OK ? list_namespaces(b, err) : rc;
        rc = rc == VMB_OK ? vmbi_snapshot_locations_load(b, problems, err) : rc;
        rc = rc == VMB_OK ? vmbi_volumes_load_policy(b, problems, err) : rc;
        if (rc != VMB_OK) {
            return rc;
        }
        rc = build_filter(b, problems, &why);
        if (rc == VMB_E_INVALID && problems->errors == 0) {
            vmbi_problems_add(problems, true, "spec", NULL, "%s", vmb_error_message(why));
        }
    }
    *acceptable = rc == VMB_OK && problems->errors == 0;
    if (rc == VMB_E_INVALID) {
        vmb_error_free(why);
        return VMB_OK;
    }
    vmbi_error_move(err, &why);
    return rc;
}

static vmb_code has_file(vmbi_backup *b, const char *file, bool *exists, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(b->name, file, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&b->store, &b->job, path.data, exists, NULL, err);
    }
    vmbi_buf_free(&path);
    return rc;
}

/* Also where a deletion has not ended: whoever takes it up would remove the new files, and what is
 * left in repositories would be forgotten. */
static vmb_code refuse_existing(vmbi_backup *b, vmb_error **err)
{
    const char *location = b->store.location->name;
    bool exists = false;
    bool deleting = false;
    vmb_code rc = has_file(b, "velero-backup.json", &exists, err);
    if (rc == VMB_OK && exists) {
        return vmbi_fail(err, VMB_E_EXISTS,
                         "backup %s already exists in object storage, location %s", b->name,
                         location);
    }
    if (rc == VMB_OK) {
        rc = has_file(b, VMBI_CATALOG_DELETING, &deleting, err);
    }
    if (rc == VMB_OK && deleting) {
        rc = vmbi_fail(err, VMB_E_EXISTS,
                       "an earlier backup %s in location %s is not deleted whole: delete it again, "
                       "or choose another name", b->name, location);
    }
    return rc;
}

static vmb_code write_archive(vmbi_backup *b, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(b->name, "%s.tar.gz", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_archive_open(&b->archive, &b->store, &b->job, path.data, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_collect(b, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_volumes_complete(b, err);
    }
    if (rc == VMB_OK) {
        rc = refuse_existing(b, err); /* another run of this name may have ended meanwhile */
    }
    if (rc == VMB_OK) {
        rc = vmbi_archive_commit(&b->archive, err);
    }
    if (rc == VMB_OK) {
        vmbi_events_progress(b->events, b->archive.items, b->archive.items, true);
        vmbi_events_emit(b->events, VMB_EVENT_STORED, VMB_LOG_INFO, path.data, "",
                         b->archive.put.bytes, -1);
    }
    vmbi_buf_free(&path);
    return rc;
}

/* Another run of the same name may have replaced or removed the archive since it was stored. */
static vmb_code check_archive(vmbi_backup *b, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    bool exists = false;
    int64_t size = 0;
    vmb_code rc = vmbi_backup_file(b->name, "%s.tar.gz", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&b->store, &b->job, path.data, &exists, &size, err);
    }
    if (rc == VMB_OK && (!exists || size != b->archive.put.bytes)) {
        rc = vmbi_fail(err, VMB_E_CONFLICT,
                       "%s is not what this run stored: does another run use the same name?",
                       path.data);
    }
    vmbi_buf_free(&path);
    return rc;
}

/* Stores velero-backup.json. A failure need not mean that it is not there: the answer of the store
 * may have been lost. What is listed must stay whole, so the store is asked. */
static vmb_code store_metadata(vmbi_backup *b, vmb_error **err)
{
    vmb_error *why = NULL;
    vmb_code rc = vmbi_metadata_put(b, &why);
    if (rc == VMB_OK) {
        return VMB_OK;
    }
    vmbi_metadata_state state = vmbi_metadata_look(b);
    if (state == VMBI_METADATA_OURS) {
        vmb_error_free(why);
        return VMB_OK;
    }
    if (state == VMBI_METADATA_UNKNOWN && rc != VMB_E_EXISTS && vmbi_metadata_remove(b)) {
        state = VMBI_METADATA_ABSENT;
    }
    b->keep = state != VMBI_METADATA_ABSENT;
    vmbi_error_move(err, &why);
    return !b->keep ? rc
                    : vmbi_wrap(err, rc, state == VMBI_METADATA_OTHERS
                                             ? "another run has stored a backup of this name"
                                             : "the store does not say whether the backup is "
                                               "listed, so its files and snapshots are kept");
}

static vmb_code finish(vmb_run *run, vmbi_backup *b, const char **phase, vmb_error **err)
{
    set_phase(run, b->log.errors > 0 ? "FinalizingPartiallyFailed" : "Finalizing");
    *phase = b->log.errors > 0 ? "PartiallyFailed" : "Completed";
    b->completion_unix_ns = vmbi_unix_ns();
    vmb_code rc = vmbi_sidefiles_put(b, err);
    if (rc == VMB_OK) {
        rc = set_status(b, *phase, NULL, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_limits_check(&b->job.limits, err, "back up");
    }
    if (rc == VMB_OK) {
        rc = check_archive(b, err);
    }
    if (rc == VMB_OK) {
        rc = store_metadata(b, err);
    }
    if (rc == VMB_OK) {
        vmbi_volumes_finish(b);
    }
    return rc;
}

/* ---- the report ---------------------------------------------------------------------------- */

static vmbi_json *freezes_json(const vmbi_backup *b)
{
    vmbi_json *list = vmbi_json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < b->n_freezes && ok; i++) {
        vmbi_json *f = vmbi_json_object();
        bool set = f != NULL && vmbi_json_set_str(f, "namespace", b->freezes[i].ns) &&
                   vmbi_json_set_str(f, "pod", b->freezes[i].pod) &&
                   vmbi_json_set_int(f, "frozenNs", b->freezes[i].duration_ns);
        if (!set) {
            vmbi_json_free(f);
            f = NULL;
        }
        ok = vmbi_json_append(list, f);
    }
    if (!ok) {
        vmbi_json_free(list);
        list = NULL;
    }
    return list;
}

static vmb_code make_report(vmb_run *run, vmbi_backup *b, int64_t duration_ns, vmb_error **err)
{
    vmbi_json *extra = vmbi_json_object();
    vmbi_json *bytes = vmbi_json_ensure_object(extra, "bytes");
    bool ok = bytes != NULL && vmbi_json_set(extra, "freezes", freezes_json(b)) &&
              vmbi_json_set_int(bytes, "objects", b->archive.raw_bytes) &&
              vmbi_json_set_int(bytes, "archive", b->archive.put.bytes);
    vmb_code rc = ok ? vmbi_outcome_report(run, "backup", b->resource, &b->log, duration_ns, extra,
                                           err)
                     : vmbi_fail_nomem(err);
    vmbi_json_free(extra);
    return rc;
}

static void close_backup(vmbi_backup *b)
{
    vmbi_volumes_done(b);
    vmbi_archive_close(&b->archive);
    vmbi_filter_free(b->filter);
    vmbi_policy_free(b->policy);
    vmbi_map_free(&b->fs_namespaces);
    vmbi_hooks_free(b->hooks);
    vmbi_cluster_close(&b->cluster);
    vmbi_runlog_done(&b->log);
    vmbi_strs_free(&b->namespaces);
    vmbi_strs_free(&b->excluded_namespaces);
    vmbi_keyset_free(&b->seen);
    vmbi_map_free(&b->used_namespaces);
    vmbi_map_free(&b->used_resources);
    for (size_t i = 0; i < b->n_freezes; i++) {
        vmbi_free(b->freezes[i].ns);
        vmbi_free(b->freezes[i].pod);
    }
    vmbi_free(b->freezes);
    vmb_free(b->resource_json);
    vmbi_json_free(b->snapshot_locations);
    vmbi_json_free(b->resource);
}

/* The backup is not acceptable: says so in the status and in the error. */
static vmb_code refuse(vmb_run *run, vmbi_backup *b, const vmbi_problems *problems,
                       vmb_error **err)
{
    vmbi_strs lines = {0};
    (void)vmbi_problems_error_lines(problems, &lines, NULL);
    (void)set_status(b, "FailedValidation", NULL, &lines, NULL); /* the error is returned */
    vmbi_strs_free(&lines);
    return vmbi_problems_check(problems, run->spec->source, err);
}

static vmb_code make_backup(vmb_run *run, vmbi_backup *b, const char **phase, vmb_error **err)
{
    vmb_code rc = refuse_existing(b, err);
    if (rc != VMB_OK) {
        return rc;
    }
    set_phase(run, "InProgress");
    rc = write_archive(b, err);
    if (rc == VMB_OK) {
        rc = finish(run, b, phase, err);
    }
    if (rc != VMB_OK) {
        *phase = "Failed";
        vmbi_volumes_done(b);
        vmbi_archive_close(&b->archive);
        if (!b->keep && vmbi_metadata_look(b) == VMBI_METADATA_ABSENT) {
            vmbi_sidefiles_remove(b); /* not when another run of this name has stored its own */
        }
    }
    return rc;
}

/* The whole of it; *phase is the phase that it ended in. */
static vmb_code execute(vmb_run *run, vmbi_backup *b, const char **phase, vmb_error **err)
{
    vmbi_problems problems = {0};
    bool acceptable = false;
    problems.places = run->spec->places;
    *phase = "Failed";
    vmb_error *missing = NULL;
    vmb_code rc = open_backup(run, b, &missing, err);
    if (rc == VMB_OK) {
        rc = validate(run, b, missing, &problems, &acceptable, err);
    }
    vmb_error_free(missing);
    if (rc == VMB_OK && !acceptable) {
        *phase = "FailedValidation";
        rc = refuse(run, b, &problems, err);
    } else if (rc == VMB_OK) {
        vmbi_outcome_log(&b->log, &problems, b->cluster.discovery);
        rc = make_backup(run, b, phase, err);
    }
    if (rc != VMB_OK && b->resource != NULL && strcmp(*phase, "Failed") == 0) {
        b->completion_unix_ns = vmbi_unix_ns();
        (void)set_status(b, *phase, err != NULL ? vmb_error_message(*err) : "failed", NULL, NULL);
    }
    vmbi_problems_free(&problems);
    return rc;
}

/* plan: NULL for a backup that is made. */
static vmbi_backup new_backup(vmb_run *run, vmbi_plan *plan)
{
    vmbi_backup b = {
        .ctx = run->ctx,
        .events = &run->events,
        .start_unix_ns = vmbi_unix_ns(),
        .start_mono_ns = vmbi_mono_ns(),
        .used_namespaces = VMBI_MAP_INIT(NULL),
        .used_resources = VMBI_MAP_INIT(NULL),
        .fs_claims = VMBI_MAP_INIT(NULL),
        .fs_skips = VMBI_MAP_INIT(vmb_free),
        .fs_namespaces = VMBI_MAP_INIT(vmbi_pod_volumes_free_claims),
        .plan = plan,
    };
    b.job.limits.cancel = run->cancel;
    return b;
}

static vmb_code execute_backup(vmb_run *run, const char **phase, vmb_error **err)
{
    vmbi_backup b = new_backup(run, NULL);
    int64_t start = vmbi_mono_ns();
    vmb_error *why = NULL;
    vmb_code rc = execute(run, &b, phase, &why);
    vmb_code reported = make_report(run, &b, vmbi_mono_ns() - start, rc == VMB_OK ? &why : NULL);
    if (rc == VMB_OK) {
        rc = reported;
    }
    close_backup(&b);
    vmbi_error_move(err, &why);
    return rc;
}

vmb_code vmbi_run_execute(vmb_run *run, vmb_error **err)
{
    if (atomic_exchange(&run->executing, true) || run->executed) {
        return vmbi_fail(err, VMB_E_STATE, "run: executes already, or has ended");
    }
    const char *phase = "Failed";
    vmb_code rc = vmbi_spec_is_restore(run->spec) ? vmbi_restore_execute(run, &phase, err)
                                                  : execute_backup(run, &phase, err);
    run->executed = true;
    set_phase(run, phase);
    atomic_store(&run->executing, false);
    return rc;
}

/* ---- dry run ------------------------------------------------------------------------------- */

static vmb_code plan_backup(vmb_run *run, vmbi_backup *b, vmbi_json **out, vmb_error **err)
{
    vmbi_problems problems = {0};
    vmb_error *missing = NULL;
    bool acceptable = false;
    problems.places = run->spec->places;
    vmb_code rc = open_backup(run, b, &missing, err);
    if (rc == VMB_OK) {
        rc = validate(run, b, missing, &problems, &acceptable, err);
    }
    vmb_error_free(missing);
    if (rc == VMB_OK && !acceptable) {
        rc = refuse(run, b, &problems, err);
    } else if (rc == VMB_OK) {
        vmbi_outcome_log(&b->log, &problems, b->cluster.discovery);
        rc = vmbi_collect(b, err);
    }
    vmbi_problems_free(&problems);
    return rc == VMB_OK ? vmbi_plan_report(b, out, err) : rc;
}

vmb_code vmbi_run_plan(vmb_run *run, vmbi_json **out, vmb_error **err)
{
    vmbi_plan plan;
    vmb_code rc = vmbi_plan_init(&plan, err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_backup b = new_backup(run, &plan);
    rc = plan_backup(run, &b, out, err);
    close_backup(&b);
    vmbi_plan_done(&plan);
    return rc;
}
