/* SPDX-License-Identifier: Apache-2.0 */
/* Is a backup whole? Every file is read and taken apart; verify_archive.c reads the archive. */
#include "core/catalog/verify.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/gzip.h"
#include "core/backup.h"

enum { MAX_PROBLEMS = 200 };

void vmbi_verify_note(vmbi_verify *v, bool is_error, const char *file, const char *fmt, ...)
{
    va_list args;
    char text[1024];
    if (is_error) {
        v->errors++;
    }
    if (vmbi_json_len(v->problems) >= MAX_PROBLEMS) {
        return; /* the outcome is clear, and the report stays readable */
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    vmbi_text_clean(text, false);
    vmbi_json *p = vmbi_json_object();
    bool ok = p != NULL && vmbi_json_set_str(p, "level", is_error ? "error" : "warning") &&
              vmbi_json_set_str(p, "file", file) && vmbi_json_set_str(p, "message", text);
    if (!ok) {
        vmbi_json_free(p);
        p = NULL;
    }
    v->out_of_memory = !vmbi_json_append(v->problems, p) || v->out_of_memory;
}

/* A failure that tells of the backup, not of the way there. */
static bool tells_of_backup(vmb_code rc)
{
    return rc == VMB_E_PARSE || rc == VMB_E_INVALID || rc == VMB_E_NOT_FOUND ||
           rc == VMB_E_LIMIT || rc == VMB_E_PROTOCOL;
}

vmb_code vmbi_verify_take(vmbi_verify *v, const char *file, vmb_code rc, vmb_error **why,
                          vmb_error **err)
{
    if (rc != VMB_OK && tells_of_backup(rc)) {
        vmbi_verify_note(v, true, file, "%s", vmb_error_message(*why));
        vmb_error_free(vmbi_steal(why));
        return VMB_OK;
    }
    vmbi_error_move(err, why);
    return rc;
}

/* ---- which files must be there -------------------------------------------------------------- */

static bool has(const vmbi_verify *v, int32_t file)
{
    return (v->present >> file & 1) != 0;
}

static void expect(vmbi_verify *v, int32_t file, const char *why)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    if (!has(v, file) &&
        vmbi_catalog_file_path(v->backup, file, &path, NULL, NULL) == VMB_OK) {
        vmbi_verify_note(v, true, path.data, "does not exist%s", why);
    }
    vmbi_buf_free(&path);
}

static int64_t status_int(const vmbi_verify *v, const char *field)
{
    return vmbi_json_int(vmbi_json_get(vmbi_json_get(v->meta, "status"), field), 0);
}

/* What a writer leaves depends on its version: results came with Velero 1.11, volumeinfo with 1.13,
 * which 1.11 and 1.12 tell by their CSI files. */
static void check_presence(vmbi_verify *v)
{
    static const int32_t since_1_11[] = {VMB_FILE_LOG, VMB_FILE_RESOURCE_LIST, VMB_FILE_RESULTS,
                                         VMB_FILE_ITEM_OPERATIONS, VMB_FILE_POD_VOLUME_BACKUPS,
                                         VMB_FILE_VOLUME_SNAPSHOTS};
    bool modern = has(v, VMB_FILE_RESULTS) || has(v, VMB_FILE_ITEM_OPERATIONS) ||
                  has(v, VMB_FILE_VOLUME_INFO);
    expect(v, VMB_FILE_CONTENTS, "");
    for (size_t i = 0; modern && i < VMBI_ARRAY_LEN(since_1_11); i++) {
        expect(v, since_1_11[i], "");
    }
    if (!modern && status_int(v, "warnings") + status_int(v, "errors") > 0) {
        expect(v, VMB_FILE_LOG, ", and the backup had warnings or errors");
    }
    if (status_int(v, "backupItemOperationsAttempted") > 0) {
        expect(v, VMB_FILE_ITEM_OPERATIONS, ", and the backup had operations");
    }
    if (modern && !has(v, VMB_FILE_CSI_VOLUME_SNAPSHOTS)) {
        expect(v, VMB_FILE_VOLUME_INFO, "");
    }
}

static vmb_code list_files(vmbi_verify *v, vmbi_catalog_keys *keys, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_code rc = vmbi_backup_file(v->backup, "", &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_keys_of(v->cat, path.data, keys, err);
    }
    for (size_t i = 0; i < keys->n && rc == VMB_OK; i++) {
        for (int32_t f = VMB_FILE_METADATA; f <= VMB_FILE_CSI_VOLUME_SNAPSHOT_CONTENTS; f++) {
            if (vmbi_catalog_file_path(v->backup, f, &path, NULL, NULL) == VMB_OK &&
                strcmp(path.data, keys->v[i].path) == 0) {
                v->present |= UINT32_C(1) << f;
            }
        }
    }
    vmbi_buf_free(&path);
    return rc;
}

/* ---- their content -------------------------------------------------------------------------- */

static vmb_code swallow(void *user, const void *data, size_t len)
{
    (void)user;
    (void)data;
    (void)len;
    return VMB_OK;
}

static vmb_code check_log(vmbi_verify *v, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_file_path(v->backup, VMB_FILE_LOG, &path, NULL, err);
    if (rc == VMB_OK && has(v, VMB_FILE_LOG)) {
        rc = vmbi_catalog_read(v->cat, v->backup, VMB_FILE_LOG, swallow, NULL, &why);
        rc = vmbi_verify_take(v, path.data, rc, &why, err);
    }
    vmbi_buf_free(&path);
    return rc;
}

/* Reads a JSON file; *out NULL when it is absent, empty, or broken (that is noted). */
static vmb_code check_document(vmbi_verify *v, int32_t file, bool array, vmbi_json **out,
                               vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_error *why = NULL;
    vmbi_json *doc = NULL;
    vmb_code rc = vmbi_catalog_file_path(v->backup, file, &path, NULL, err);
    if (rc == VMB_OK && has(v, file)) {
        rc = vmbi_catalog_read_json(v->cat, v->backup, file, &doc, &why);
        rc = vmbi_verify_take(v, path.data, rc, &why, err);
    }
    if (rc == VMB_OK && !vmbi_json_is_null(doc) &&
        !(array ? vmbi_json_is_array(doc) : vmbi_json_is_object(doc))) {
        vmbi_verify_note(v, true, path.data, "holds %s where %s belongs",
                         vmbi_json_type_name(doc), array ? "an array" : "an object");
        vmbi_json_free(doc);
        doc = NULL;
    }
    vmbi_buf_free(&path);
    if (rc == VMB_OK && out != NULL) {
        *out = doc;
    } else {
        vmbi_json_free(doc);
    }
    return rc;
}

static size_t count_messages(const vmbi_json *part)
{
    size_t n = vmbi_json_len(vmbi_json_get(part, "velero")) +
               vmbi_json_len(vmbi_json_get(part, "cluster"));
    const vmbi_json *namespaces = vmbi_json_get(part, "namespaces");
    for (void *it = vmbi_json_iter(namespaces); it != NULL;
         it = vmbi_json_iter_next(namespaces, it)) {
        n += vmbi_json_len(vmbi_json_iter_value(it));
    }
    return n;
}

static vmb_code check_results(vmbi_verify *v, vmb_error **err)
{
    static const char *const parts[] = {"warnings", "errors"};
    vmbi_json *doc = NULL;
    vmb_code rc = check_document(v, VMB_FILE_RESULTS, false, &doc, err);
    for (size_t i = 0; i < VMBI_ARRAY_LEN(parts) && rc == VMB_OK && doc != NULL; i++) {
        size_t held = count_messages(vmbi_json_get(doc, parts[i]));
        int64_t said = status_int(v, parts[i]);
        if ((int64_t)held > said) { /* failed operations are counted, not listed */
            vmbi_verify_note(v, false, "results", "holds %zu %s, the status says %lld", held,
                             parts[i], (long long)said);
        }
    }
    vmbi_json_free(doc);
    return rc;
}

static vmb_code check_metadata(vmbi_verify *v)
{
    static const char *const ended[] = {"Completed", "PartiallyFailed", "Failed"};
    const char *phase = vmbi_json_path_str(v->meta, "status.phase");
    bool done = false;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(ended); i++) {
        done = done || vmbi_streq(phase, ended[i]);
    }
    if (!done) {
        vmbi_verify_note(v, true, "velero-backup.json", "phase is \"%.60s\": the backup did not end",
                         phase != NULL ? phase : "");
    } else if (vmbi_streq(phase, "Failed")) {
        vmbi_verify_note(v, false, "velero-backup.json", "the backup failed: %.400s",
                         vmbi_json_path_str(v->meta, "status.failureReason") != NULL
                             ? vmbi_json_path_str(v->meta, "status.failureReason")
                             : "no reason is given");
    } else if (vmbi_streq(phase, "PartiallyFailed")) {
        vmbi_verify_note(v, false, "velero-backup.json",
                         "the backup is incomplete: it had %lld errors",
                         (long long)status_int(v, "errors"));
    }
    return VMB_OK;
}

static vmb_code check_documents(vmbi_verify *v, vmb_error **err)
{
    vmb_code rc = check_log(v, err);
    if (rc == VMB_OK) {
        rc = check_results(v, err);
    }
    if (rc == VMB_OK) {
        rc = check_document(v, VMB_FILE_ITEM_OPERATIONS, true, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = check_document(v, VMB_FILE_POD_VOLUME_BACKUPS, true, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = check_document(v, VMB_FILE_VOLUME_SNAPSHOTS, true, NULL, err);
    }
    if (rc == VMB_OK) {
        rc = check_document(v, VMB_FILE_VOLUME_INFO, true, &v->volume_infos, err);
    }
    if (rc == VMB_OK) {
        rc = check_document(v, VMB_FILE_RESOURCE_LIST, false, &v->resource_list, err);
    }
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static vmb_code report(vmbi_verify *v, size_t files, vmbi_json **out, vmb_error **err)
{
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && !v->out_of_memory && vmbi_json_set_str(r, "backup", v->backup) &&
              vmbi_json_set_bool(r, "ok", v->errors == 0) &&
              vmbi_json_set(r, "problems", vmbi_json_ref(v->problems)) &&
              vmbi_json_set_int(r, "files", (int64_t)files) &&
              vmbi_json_set_int(r, "objects", v->objects) &&
              vmbi_json_set_int(r, "archiveBytes", v->archive_bytes) &&
              vmbi_json_set_int(r, "objectBytes", v->object_bytes) &&
              vmbi_json_set_int(r, "volumes", v->volumes);
    if (!ok) {
        vmbi_json_free(r);
        return vmbi_fail_nomem(err);
    }
    *out = r;
    return VMB_OK;
}

vmb_code vmbi_catalog_verify(vmb_catalog *cat, const char *backup, const vmbi_verify_options *o,
                             vmbi_json **out, vmb_error **err)
{
    vmbi_verify v = {.cat = cat, .backup = backup, .problems = vmbi_json_array()};
    vmbi_catalog_keys keys = {0};
    vmb_error *why = NULL;
    vmb_code rc = v.problems != NULL ? vmbi_catalog_require(cat, backup, &v.meta, &why)
                                     : vmbi_fail_nomem(&why);
    bool exists = rc != VMB_E_NOT_FOUND;
    rc = exists ? vmbi_verify_take(&v, "velero-backup.json", rc, &why, err) : rc;
    vmbi_error_move(err, &why);
    if (rc == VMB_OK && v.meta != NULL) {
        rc = check_metadata(&v);
    }
    if (rc == VMB_OK) {
        rc = list_files(&v, &keys, err);
    }
    if (rc == VMB_OK) {
        check_presence(&v);
        rc = check_documents(&v, err);
    }
    if (rc == VMB_OK && has(&v, VMB_FILE_CONTENTS)) {
        rc = vmbi_verify_archive(&v, err);
    }
    if (rc == VMB_OK && o->deep) {
        rc = vmbi_verify_volumes(&v, err);
    }
    if (rc == VMB_OK) {
        rc = report(&v, keys.n, out, err);
    }
    vmbi_catalog_keys_free(&keys);
    vmbi_json_free(v.meta);
    vmbi_json_free(v.problems);
    vmbi_json_free(v.resource_list);
    vmbi_json_free(v.volume_infos);
    return rc;
}
