/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Velero 1.18 pkg/controller/schedule_controller.go and pkg/builder/backup_builder.go. */
#include "model/schedule.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "model/backup.h"
#include "model/doc_hint.h"
#include "model/labelname.h"

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reader {
    const vmbi_json *doc;
    vmbi_schedule *s;
    vmbi_problems *p; /* never NULL */
    vmb_error **err;
} reader;

void vmbi_schedule_free(vmbi_schedule *s)
{
    vmbi_free(s->name);
    vmbi_free(s->ns);
    vmbi_json_free(s->doc);
    vmbi_cron_free(s->cron);
    *s = (vmbi_schedule){0};
}

static void check_head(reader *r)
{
    const char *kind = vmbi_json_get_str(r->doc, "kind");
    const char *version = vmbi_json_get_str(r->doc, "apiVersion");
    if (kind == NULL || strcmp(kind, "Schedule") != 0) {
        vmbi_problems_add(r->p, true, "kind", "write Schedule", "\"%.80s\" is no schedule",
                          kind != NULL ? kind : "");
    }
    if (version == NULL || strcmp(version, "velero.io/v1") != 0) {
        vmbi_problems_add(r->p, true, "apiVersion", "write velero.io/v1",
                          "\"%.80s\" is not the version of a schedule",
                          version != NULL ? version : "");
    }
}

static vmb_code read_names(reader *r)
{
    const char *name = vmbi_json_path_str(r->doc, "metadata.name");
    const char *ns = vmbi_json_path_str(r->doc, "metadata.namespace");
    r->s->name = vmbi_strdup(name != NULL ? name : "");
    r->s->ns = vmbi_strdup(ns != NULL ? ns : "");
    if (r->s->name == NULL || r->s->ns == NULL) {
        return vmbi_fail_nomem(r->err);
    }
    if (!vmbi_dns_subdomain_ok(r->s->name, strlen(r->s->name))) {
        vmbi_problems_add(r->p, true, "metadata.name", vmbi_value_hint(r->s->name),
                          "\"%.100s\" is no name of a schedule", r->s->name);
    } else if (strlen(r->s->name) + sizeof("-20060102150405") - 1 > 253) {
        vmbi_problems_add(r->p, true, "metadata.name", NULL,
                          "is too long: the names of its backups are 15 characters longer");
    }
    return VMB_OK;
}

static int read_bool(reader *r, const char *path)
{
    const vmbi_json *v = vmbi_json_path(r->doc, path);
    if (!vmbi_json_is_null(v) && !vmbi_json_is_bool(v)) {
        const char *text = vmbi_json_str(v);
        vmbi_problems_add(r->p, true, path, text != NULL ? vmbi_value_hint(text) : NULL,
                          "must be true or false");
    }
    return vmbi_json_is_bool(v) ? (vmbi_json_bool(v, false) ? 1 : 0) : -1;
}

static int64_t read_time(const reader *r, const char *path)
{
    const char *text = vmbi_json_path_str(r->doc, path);
    int64_t ns = 0;
    return text != NULL && vmbi_parse_rfc3339(text, &ns) ? ns : 0;
}

static vmb_code read_cron(reader *r, const char *zone)
{
    const vmbi_json *v = vmbi_json_path(r->doc, "spec.schedule");
    const char *expr = vmbi_json_str(v);
    vmb_error *why = NULL;
    if (expr == NULL || expr[0] == '\0') {
        vmbi_problems_add(r->p, true, "spec.schedule", "write when to run: \"0 22 * * *\"",
                          expr == NULL && !vmbi_json_is_null(v) ? "must be a string"
                                                                : "is missing");
        return VMB_OK;
    }
    vmb_code rc = vmbi_cron_parse(expr, zone, &r->s->cron, &why);
    if (rc == VMB_E_NOMEM) {
        vmb_error_free(why);
        return vmbi_fail_nomem(r->err);
    }
    if (rc != VMB_OK) {
        vmbi_problems_add(r->p, true, "spec.schedule", NULL, "%s", vmb_error_message(why));
    }
    vmb_error_free(why);
    return VMB_OK;
}

/* "spec.ttl" of the Backup stands under "spec.template.ttl". Only a warning: Velero enables such a
 * schedule, and each of its backups fails. */
static void take_problem(reader *r, const vmbi_problem *one)
{
    char field[512];
    bool below = strncmp(one->field, "spec.", 5) == 0;
    (void)snprintf(field, sizeof(field), "spec.template%s%s", below ? "." : "",
                   below ? one->field + 5 : "");
    vmbi_problems_add(r->p, false, field, one->remedy[0] != '\0' ? one->remedy : NULL,
                      "%s", one->message);
}

static vmb_code check_template(reader *r)
{
    vmbi_json *template = vmbi_json_path(r->doc, "spec.template");
    vmbi_problems found = {0};
    vmbi_json *backup = NULL;
    vmb_spec *spec = NULL;
    if (!vmbi_json_is_null(template) && !vmbi_json_is_object(template)) {
        vmbi_problems_add(r->p, true, "spec.template", NULL, "must be the spec of a Backup");
        return VMB_OK;
    }
    backup = vmbi_json_object();
    vmbi_json *meta = vmbi_json_ensure_object(backup, "metadata");
    bool ok = meta != NULL && vmbi_json_set_str(meta, "name", "template") &&
              vmbi_json_set_str(backup, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(backup, "kind", "Backup") &&
              vmbi_json_set(backup, "spec", template != NULL && !vmbi_json_is_null(template)
                                                ? vmbi_json_copy(template)
                                                : vmbi_json_object());
    vmb_code rc = ok ? vmbi_spec_from_tree(backup, &spec, r->err) : vmbi_fail_nomem(r->err);
    if (rc == VMB_OK) {
        rc = vmbi_backup_validate(spec, &found, r->err);
    }
    for (size_t i = 0; i < found.n && rc == VMB_OK; i++) {
        take_problem(r, &found.v[i]);
    }
    vmbi_problems_free(&found);
    vmbi_spec_free(spec);
    vmbi_json_free(backup);
    return rc;
}

static vmb_code read_all(reader *r, const char *zone)
{
    check_head(r);
    vmb_code rc = read_names(r);
    if (rc == VMB_OK) {
        rc = read_cron(r, zone);
    }
    if (rc == VMB_OK) {
        rc = check_template(r);
    }
    r->s->paused = read_bool(r, "spec.paused") == 1;
    r->s->owner_references = read_bool(r, "spec.useOwnerReferencesInBackup") == 1;
    r->s->skip_immediately = read_bool(r, "spec.skipImmediately");
    r->s->created_unix_ns = read_time(r, "metadata.creationTimestamp");
    r->s->last_backup_unix_ns = read_time(r, "status.lastBackup");
    r->s->last_skipped_unix_ns = read_time(r, "status.lastSkipped");
    return rc;
}

vmb_code vmbi_schedule_from_tree(vmbi_json *doc, const char *source, const char *zone,
                                 vmbi_schedule *out, vmbi_problems *problems, vmb_error **err)
{
    if (!vmbi_json_is_object(doc)) {
        return vmbi_fail(err, VMB_E_INVALID, "%s: a schedule is an object, this is %s", source,
                         vmbi_json_type_name(doc));
    }
    vmbi_problems own = {0};
    vmbi_schedule made = {.skip_immediately = -1};
    reader r = {doc, &made, problems != NULL ? problems : &own, err};
    size_t before = r.p->errors;
    vmb_code rc = read_all(&r, zone);
    if (rc == VMB_OK && r.p->status == VMB_E_NOMEM) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK && r.p->errors > before) {
        rc = vmbi_problems_check(r.p, source, err);
    }
    vmbi_problems_free(&own);
    if (rc != VMB_OK) {
        vmbi_schedule_free(&made);
        return rc;
    }
    made.doc = vmbi_json_ref(doc);
    *out = made;
    return VMB_OK;
}

vmb_code vmbi_schedule_parse(const char *doc, size_t len, const char *source, const char *zone,
                             vmbi_schedule *out, vmbi_problems *problems, vmb_error **err)
{
    vmbi_problems own = {0};
    vmbi_problems *p = problems != NULL ? problems : &own;
    vmbi_positions *places = NULL;
    vmbi_json *tree = NULL;
    vmb_code rc = vmbi_doc_parse(doc, len, source, vmbi_backup_doc_hint, &tree, &places, err);
    if (rc != VMB_OK) {
        return rc;
    }
    p->places = places;
    rc = vmbi_schedule_from_tree(tree, source, zone, out, p, err);
    p->places = NULL;
    vmbi_positions_free(places);
    vmbi_problems_free(&own);
    vmbi_json_free(tree);
    return rc;
}

/* ---- being due ----------------------------------------------------------------------------- */

bool vmbi_schedule_due(const vmbi_schedule *s, int64_t now_unix_ns, int64_t *next_unix_ns)
{
    int64_t base = s->last_backup_unix_ns != 0 ? s->last_backup_unix_ns : s->created_unix_ns;
    int64_t next = 0;
    if (s->last_skipped_unix_ns > base) {
        base = s->last_skipped_unix_ns;
    }
    bool found = vmbi_cron_next(s->cron, base, &next);
    if (next_unix_ns != NULL) {
        *next_unix_ns = found ? next : 0;
    }
    return found && now_unix_ns > next;
}

vmbi_schedule_step vmbi_schedule_look(const vmbi_schedule *s, bool skip_default, bool busy,
                                      int64_t now_unix_ns, int64_t *next_unix_ns)
{
    bool skip = s->skip_immediately == -1 ? skip_default : s->skip_immediately == 1;
    bool due = vmbi_schedule_due(s, now_unix_ns, next_unix_ns);
    if (s->paused) {
        return VMBI_SCHEDULE_PAUSED;
    }
    if (skip) {
        return VMBI_SCHEDULE_SKIP;
    }
    if (!due) {
        return VMBI_SCHEDULE_WAIT;
    }
    return busy ? VMBI_SCHEDULE_BLOCKED : VMBI_SCHEDULE_SUBMIT;
}

static const char schedule_label[] = "velero.io/schedule-name";

bool vmbi_schedule_blocked_by(const vmbi_schedule *s, const vmbi_json *backup)
{
    static const char *const open[] = {"", "New", "Queued", "ReadyToStart", "InProgress"};
    char label[VMBI_LABEL_NAME_SIZE];
    const char *phase = vmbi_json_path_str(backup, "status.phase");
    const char *of = vmbi_json_get_str(vmbi_json_path(backup, "metadata.labels"), schedule_label);
    vmbi_label_valid_name(s->name, label);
    if (of == NULL || strcmp(of, label) != 0) {
        return false;
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(open); i++) {
        if (strcmp(phase != NULL ? phase : "", open[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the backup ---------------------------------------------------------------------------- */

vmb_code vmbi_schedule_backup_name(const vmbi_schedule *s, int64_t now_unix_ns, vmbi_buf *out,
                                   vmb_error **err)
{
    vmbi_civil c;
    vmbi_zone_civil(vmbi_cron_zone(s->cron), now_unix_ns / VMBI_SECOND, &c);
    vmbi_buf_reset(out);
    vmbi_buf_addf(out, "%s-%04lld%02d%02d%02d%02d%02d", s->name, (long long)c.year, c.month, c.day,
                  c.hour, c.minute, c.second);
    return vmbi_buf_check(out, err, "name of a backup");
}

static vmbi_json *copy_or_object(const vmbi_json *v)
{
    return vmbi_json_is_object(v) ? vmbi_json_copy(v) : vmbi_json_object();
}

static bool set_labels(const vmbi_schedule *s, vmbi_json *meta)
{
    char label[VMBI_LABEL_NAME_SIZE];
    const vmbi_json *own = vmbi_json_path(s->doc, "spec.template.metadata.labels");
    vmbi_json *labels = copy_or_object(
        vmbi_json_is_object(own) ? own : vmbi_json_path(s->doc, "metadata.labels"));
    vmbi_label_valid_name(s->name, label);
    if (labels == NULL || !vmbi_json_set_str(labels, schedule_label, label)) {
        vmbi_json_free(labels);
        return false;
    }
    return vmbi_json_set(meta, "labels", labels);
}

/* What kubectl notes about the schedule is not true of the backup. */
static bool set_annotations(const vmbi_schedule *s, vmbi_json *meta)
{
    vmbi_json *own = vmbi_json_path(s->doc, "metadata.annotations");
    if (vmbi_json_len(own) == 0) {
        return true;
    }
    vmbi_json *copy = copy_or_object(own);
    if (copy != NULL) {
        vmbi_json_del(copy, "kubectl.kubernetes.io/last-applied-configuration");
    }
    return vmbi_json_set(meta, "annotations", copy);
}

static bool set_owner(const vmbi_schedule *s, vmbi_json *meta)
{
    const char *uid = vmbi_json_path_str(s->doc, "metadata.uid");
    if (!s->owner_references || uid == NULL) {
        return true;
    }
    vmbi_json *owner = vmbi_json_object();
    vmbi_json *list = vmbi_json_array();
    bool ok = owner != NULL && list != NULL &&
              vmbi_json_set_str(owner, "apiVersion", "velero.io/v1") &&
              vmbi_json_set_str(owner, "kind", "Schedule") &&
              vmbi_json_set_str(owner, "name", s->name) && vmbi_json_set_str(owner, "uid", uid) &&
              vmbi_json_set_bool(owner, "controller", true);
    ok = ok && vmbi_json_append(list, vmbi_json_ref(owner));
    ok = ok && vmbi_json_set(meta, "ownerReferences", vmbi_json_ref(list));
    vmbi_json_free(owner);
    vmbi_json_free(list);
    return ok;
}

vmb_code vmbi_schedule_backup(const vmbi_schedule *s, int64_t now_unix_ns, vmbi_json **out,
                              vmb_error **err)
{
    vmbi_buf name = VMBI_BUF_INIT(1024);
    vmbi_json *backup = vmbi_json_object();
    vmb_code rc = vmbi_schedule_backup_name(s, now_unix_ns, &name, err);
    if (rc == VMB_OK) {
        vmbi_json *meta = vmbi_json_ensure_object(backup, "metadata");
        bool ok = meta != NULL && vmbi_json_set_str(backup, "apiVersion", "velero.io/v1") &&
                  vmbi_json_set_str(backup, "kind", "Backup") &&
                  vmbi_json_set_str(meta, "name", name.data) &&
                  (s->ns[0] == '\0' || vmbi_json_set_str(meta, "namespace", s->ns)) &&
                  set_labels(s, meta) && set_annotations(s, meta) && set_owner(s, meta) &&
                  vmbi_json_set(backup, "spec",
                                copy_or_object(vmbi_json_path(s->doc, "spec.template")));
        rc = ok ? VMB_OK : vmbi_fail_nomem(err);
    }
    vmbi_buf_free(&name);
    if (rc != VMB_OK) {
        vmbi_json_free(backup);
        return rc;
    }
    *out = backup;
    return VMB_OK;
}

/* ---- writing back -------------------------------------------------------------------------- */

static vmb_code give(vmbi_json *patch, bool ok, vmbi_json **out, vmb_error **err)
{
    if (!ok) {
        vmbi_json_free(patch);
        return vmbi_fail_nomem(err);
    }
    *out = patch;
    return VMB_OK;
}

vmb_code vmbi_schedule_phase_patch(const vmbi_problems *problems, vmbi_json **out, vmb_error **err)
{
    vmbi_strs lines = {0};
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *status = vmbi_json_ensure_object(patch, "status");
    bool bad = problems != NULL && problems->errors > 0;
    bool ok = status != NULL &&
              vmbi_json_set_str(status, "phase", bad ? "FailedValidation" : "Enabled");
    if (ok && bad) {
        ok = vmbi_problems_error_lines(problems, &lines, NULL) == VMB_OK &&
             vmbi_json_set(status, "validationErrors", vmbi_json_string_array(&lines));
    } else if (ok) {
        ok = vmbi_json_set(status, "validationErrors", vmbi_json_null());
    }
    vmbi_strs_free(&lines);
    return give(patch, ok, out, err);
}

static bool set_status_time(vmbi_json *patch, const char *field, int64_t unix_ns)
{
    char text[VMBI_RFC3339_SIZE];
    vmbi_json *status = vmbi_json_ensure_object(patch, "status");
    vmbi_format_rfc3339(unix_ns, text);
    return status != NULL && vmbi_json_set_str(status, field, text);
}

vmb_code vmbi_schedule_ran_patch(int64_t now_unix_ns, vmbi_json **out, vmb_error **err)
{
    vmbi_json *patch = vmbi_json_object();
    return give(patch, set_status_time(patch, "lastBackup", now_unix_ns), out, err);
}

vmb_code vmbi_schedule_skip_patch(int64_t now_unix_ns, vmbi_json **out, vmb_error **err)
{
    vmbi_json *patch = vmbi_json_object();
    vmbi_json *spec = vmbi_json_ensure_object(patch, "spec");
    bool ok = spec != NULL && vmbi_json_set_bool(spec, "skipImmediately", false) &&
              set_status_time(patch, "lastSkipped", now_unix_ns);
    return give(patch, ok, out, err);
}
