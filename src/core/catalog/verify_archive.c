/* SPDX-License-Identifier: Apache-2.0 */
/* The archive under examination: every object parses and is what its path says, both of its paths
 * are there, and nothing of the resource list is missing. In memory are 16 bytes an object. */
#include "core/catalog/verify.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"

enum { NAMED_MISSING = 10, MAX_ENTRY_NAME = 8192 };

typedef struct examiner {
    vmbi_verify *v;
    const char *file;
    vmbi_keyset listed;     /* by "apiVersion/Kind ns/name" */
    int64_t versioned;      /* entries under "…-preferredversion" */
    bool has_version_entry;
} examiner;

static vmbi_key16 key_of(const char *type, const char *name)
{
    vmbi_key16 key;
    uint8_t sum[32];
    char text[MAX_ENTRY_NAME];
    int n = snprintf(text, sizeof(text), "%s %s", type, name);
    vmbi_sha256(text, n > 0 && (size_t)n < sizeof(text) ? (size_t)n : 0, sum);
    memcpy(key.b, sum, sizeof(key.b));
    return key;
}

static bool slice_is(vmbi_slice s, const char *text)
{
    return text != NULL && s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

static vmb_code check_object(examiner *x, const char *path, const vmbi_archive_path *p,
                             const vmbi_json *object, vmb_error **err)
{
    const char *version = vmbi_json_get_str(object, "apiVersion");
    const char *kind = vmbi_json_get_str(object, "kind");
    const char *name = vmbi_json_path_str(object, "metadata.name");
    const char *ns = vmbi_json_path_str(object, "metadata.namespace");
    char type[512];
    char full[1024];
    bool added = false;
    if (version == NULL || kind == NULL || name == NULL) {
        vmbi_verify_note(x->v, true, x->file, "%s: has no apiVersion, kind or name", path);
        return VMB_OK;
    }
    if (!slice_is(p->name, name) ||
        (p->ns.len > 0 ? !slice_is(p->ns, ns) : ns != NULL && ns[0] != '\0')) {
        vmbi_verify_note(x->v, true, x->file, "%s: holds the object %s%s%s", path,
                         ns != NULL ? ns : "", ns != NULL ? "/" : "", name);
        return VMB_OK;
    }
    (void)snprintf(type, sizeof(type), "%s/%s", version, kind);
    (void)snprintf(full, sizeof(full), "%s%s%s", p->ns.len > 0 ? ns : "", p->ns.len > 0 ? "/" : "",
                   name);
    vmbi_key16 key = key_of(type, full);
    return vmbi_keyset_add(&x->listed, &key, &added, err);
}

static vmb_code take_entry(void *user, const char *path, const char *data, size_t len,
                           vmb_error **err)
{
    examiner *x = user;
    vmbi_archive_path p;
    vmbi_json *object = NULL;
    vmb_error *why = NULL;
    if (!vmbi_archive_path_parse(path, &p)) {
        x->has_version_entry = x->has_version_entry || strcmp(path, "metadata/version") == 0;
        return VMB_OK;
    }
    if (p.version.len > 0) {
        static const char mark[] = "-preferredversion";
        size_t n = sizeof(mark) - 1;
        x->versioned += p.version.len > n && memcmp(p.version.p + p.version.len - n, mark, n) == 0;
        return VMB_OK;
    }
    x->v->objects++;
    x->v->object_bytes += (int64_t)len;
    vmb_code rc = vmbi_json_parse(data, len, path, &object, &why);
    rc = vmbi_verify_take(x->v, x->file, rc, &why, err);
    if (rc == VMB_OK && object != NULL) {
        rc = check_object(x, path, &p, object, err);
    }
    vmbi_json_free(object);
    return rc;
}

/* Entries of the resource list that the archive lacks. */
static size_t check_resource_list(examiner *x)
{
    const vmbi_json *list = x->v->resource_list;
    size_t total = 0;
    size_t missing = 0;
    for (void *it = vmbi_json_iter(list); it != NULL; it = vmbi_json_iter_next(list, it)) {
        const vmbi_json *names = vmbi_json_iter_value(it);
        for (size_t i = 0; i < vmbi_json_len(names); i++) {
            const char *name = vmbi_json_str(vmbi_json_at(names, i));
            vmbi_key16 key = key_of(vmbi_json_iter_key(it), name != NULL ? name : "");
            total++;
            if (!vmbi_keyset_has(&x->listed, &key) && ++missing <= NAMED_MISSING) {
                vmbi_verify_note(x->v, true, x->file, "%s %s is in the resource list only",
                                 vmbi_json_iter_key(it), name != NULL ? name : "?");
            }
        }
    }
    if (missing > NAMED_MISSING) {
        vmbi_verify_note(x->v, true, x->file, "%zu more objects are in the resource list only",
                         missing - NAMED_MISSING);
    }
    return total;
}

static void check_counts(examiner *x)
{
    vmbi_verify *v = x->v;
    const char *format = vmbi_json_path_str(v->meta, "status.formatVersion");
    int64_t said = vmbi_json_int(vmbi_json_path(v->meta, "status.progress.itemsBackedUp"), -1);
    if (!x->has_version_entry) {
        vmbi_verify_note(v, false, x->file, "has no metadata/version");
    }
    if (format != NULL && strcmp(format, "1.1.0") >= 0 && x->versioned != v->objects) {
        vmbi_verify_note(v, true, x->file, "holds %lld objects and %lld under their version",
                         (long long)v->objects, (long long)x->versioned);
    }
    if (v->resource_list != NULL) {
        size_t listed = check_resource_list(x);
        if (said >= 0 && (int64_t)listed != said) {
            vmbi_verify_note(v, false, x->file,
                             "the resource list has %zu entries, the status says %lld", listed,
                             (long long)said);
        }
    } else if (said >= 0 && v->objects < said) {
        vmbi_verify_note(v, true, x->file, "holds %lld objects, the status says %lld",
                         (long long)v->objects, (long long)said);
    }
}

/* Snapshots that volumeinfo speaks of need a handle to be restored from. */
static void check_volume_infos(vmbi_verify *v)
{
    for (size_t i = 0; i < vmbi_json_len(v->volume_infos); i++) {
        const vmbi_json *one = vmbi_json_at(v->volume_infos, i);
        const char *method = vmbi_json_get_str(one, "backupMethod");
        const char *name = vmbi_json_get_str(one, "pvcName");
        const char *handle = NULL;
        bool moved = vmbi_json_bool(vmbi_json_get(one, "snapshotDataMoved"), false);
        if (method == NULL || vmbi_streq(vmbi_json_get_str(one, "result"), "failed")) {
            continue;
        }
        if (strcmp(method, "CSISnapshot") == 0 && !moved) {
            handle = vmbi_json_path_str(one, "csiSnapshotInfo.snapshotHandle");
        } else if (strcmp(method, "PodVolumeBackup") == 0) {
            continue; /* an empty volume has none */
        } else if (moved) {
            handle = vmbi_json_path_str(one, "snapshotDataMovementInfo.snapshotHandle");
        } else {
            handle = vmbi_json_path_str(one, "nativeSnapshotInfo.snapshotHandle");
        }
        if (handle == NULL || handle[0] == '\0') {
            vmbi_verify_note(v, true, "volumeinfo", "volume %s: its snapshot has no handle",
                             name != NULL ? name : "?");
        }
    }
}

vmb_code vmbi_verify_archive(vmbi_verify *v, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmb_error *why = NULL;
    vmb_code rc = vmbi_catalog_file_path(v->backup, VMB_FILE_CONTENTS, &path, NULL, err);
    examiner x = {.v = v, .file = path.data};
    if (rc == VMB_OK) {
        size_t before = v->errors;
        rc = vmbi_catalog_walk(v->cat, v->backup, take_entry, &x, &v->archive_bytes, &why);
        rc = vmbi_verify_take(v, x.file, rc, &why, err);
        if (rc == VMB_OK && v->errors == before) {
            check_counts(&x); /* of an archive that could be read whole */
        }
        check_volume_infos(v);
    }
    vmbi_keyset_free(&x.listed);
    vmbi_buf_free(&path);
    return rc;
}
