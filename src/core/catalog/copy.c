/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a backup into another location. velero-backup.json comes last, so that a copy that ends
 * early is no backup; what was written is read back before that. */
#include "core/catalog/parts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "core/backup.h"

static const char metadata_name[] = "velero-backup.json";

typedef struct copying {
    vmb_catalog *from, *to;
    const char *backup;
    vmb_job job;    /* reading */
    vmb_job to_job; /* writing */
    int64_t files;
    int64_t bytes;
} copying;

/* ---- one file ------------------------------------------------------------------------------ */

typedef struct pipe {
    vmbi_digest *digest;
    vmbi_put *put; /* NULL: only sums up */
    int64_t bytes;
} pipe;

static vmb_code pass_on(void *user, const void *data, size_t len, vmb_error **err)
{
    pipe *p = user;
    vmbi_digest_update(p->digest, data, len);
    p->bytes += (int64_t)len;
    return p->put != NULL ? vmbi_put_write(p->put, data, len, err) : VMB_OK;
}

/* Reads an object through a pipe; *sum and *bytes tell what came. */
static vmb_code drain(const vmbi_store *s, vmb_job *job, const char *path, vmbi_put *put,
                      uint8_t sum[32], int64_t *bytes, vmb_error **err)
{
    vmbi_buf key = VMBI_BUF_INIT(1024);
    pipe p = {NULL, put, 0};
    struct vmb_sink sink = {pass_on, &p};
    vmb_code rc = vmbi_digest_new(VMBI_SHA256, &p.digest, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_key(s, path, &key, err);
    }
    if (rc == VMB_OK) {
        const vmb_store_provider *store = &s->location->store;
        rc = store->get(store->user, job, key.data, 0, -1, &sink, err);
        rc = vmbi_check_provider(err, rc, "read an object");
    }
    if (rc == VMB_OK) {
        vmbi_digest_final(p.digest, sum);
        *bytes = p.bytes;
    }
    vmbi_digest_free(p.digest);
    vmbi_buf_free(&key);
    return rc != VMB_OK ? vmbi_wrap(err, rc, "read %s from location %s", path, s->location->name)
                        : VMB_OK;
}

static vmb_code check_copy(copying *c, const char *path, const uint8_t wanted[32], vmb_error **err)
{
    uint8_t sum[32];
    int64_t bytes = 0;
    vmb_code rc = drain(&c->to->store, &c->to_job, path, NULL, sum, &bytes, err);
    if (rc == VMB_OK && memcmp(sum, wanted, sizeof(sum)) != 0) {
        rc = vmbi_fail(err, VMB_E_CONFLICT,
                       "%s in location %s is not what was written: does another program write "
                       "there, or is the store damaged?", path, c->to->store.location->name);
    }
    return rc;
}

static vmb_code copy_file(copying *c, const char *path, vmb_error **err)
{
    vmbi_put put;
    uint8_t sum[32];
    int64_t bytes = 0;
    vmb_code rc = vmbi_put_begin(&put, &c->to->store, &c->to_job, path, 0, err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = drain(&c->from->store, &c->job, path, &put, sum, &bytes, err);
    if (rc == VMB_OK) {
        rc = vmbi_put_commit(&put, err);
    } else {
        vmbi_put_abort(&put);
    }
    if (rc == VMB_OK) {
        rc = check_copy(c, path, sum, err);
    }
    if (rc == VMB_OK) {
        c->files++;
        c->bytes += bytes;
    }
    return rc;
}

/* ---- velero-backup.json -------------------------------------------------------------------- */

/* As in the source, but naming the location where it lies now. */
static vmb_code copy_metadata(copying *c, vmbi_json *meta, vmb_error **err)
{
    static const char *const first[] = {"kind", "apiVersion", "metadata", "spec", "status", NULL};
    static const char label[] = "velero.io/storage-location";
    const char *name = c->to->store.location->name;
    vmbi_buf text = VMBI_BUF_INIT(VMBI_CATALOG_MAX_METADATA);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_json *spec = vmbi_json_ensure_object(meta, "spec");
    vmbi_json *labels = vmbi_json_path(meta, "metadata.labels");
    bool ok = spec != NULL && vmbi_json_set_str(spec, "storageLocation", name);
    if (ok && vmbi_json_get(labels, label) != NULL) {
        ok = vmbi_json_set_str(labels, label, name);
    }
    vmb_code rc = ok ? vmbi_json_print_indent(meta, first, &text, err) : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_backup_file(c->backup, metadata_name, &path, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_store_put(&c->to->store, &c->to_job, path.data, text.data, text.len,
                            VMB_PUT_IF_ABSENT, err);
    }
    if (rc == VMB_OK) {
        uint8_t sum[32];
        vmbi_sha256(text.data, text.len, sum);
        rc = check_copy(c, path.data, sum, err);
        c->files++;
        c->bytes += (int64_t)text.len;
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return rc;
}

/* ---- what may be copied -------------------------------------------------------------------- */

static vmb_code check_finished(const copying *c, const vmbi_json *meta, vmb_error **err)
{
    static const char *const ended[] = {"Completed", "PartiallyFailed", "Failed"};
    const char *phase = vmbi_json_path_str(meta, "status.phase");
    for (size_t i = 0; phase != NULL && i < VMBI_ARRAY_LEN(ended); i++) {
        if (strcmp(phase, ended[i]) == 0) {
            return VMB_OK;
        }
    }
    return vmbi_fail(err, VMB_E_INVALID, "backup %s is not finished: its phase is \"%.60s\"",
                     c->backup, phase != NULL ? phase : "");
}

static vmb_code check_data(const copying *c, vmb_error **err)
{
    vmbi_backup_data data = {0};
    vmb_code rc = vmbi_backup_data_read(c->from, c->backup, &data, err);
    if (rc == VMB_OK) {
        size_t volumes = vmbi_json_len(data.volumes);
        size_t snapshots = vmbi_json_len(data.contents) + vmbi_json_len(data.native);
        if (volumes + snapshots > 0) {
            rc = vmbi_fail(err, VMB_E_INVALID,
                           "backup %s has %zu volumes in repositories and %zu snapshots in the "
                           "storage, which a copy of its files does not take along; ask for the "
                           "archive only to copy it nevertheless", c->backup, volumes, snapshots);
        }
    }
    vmbi_backup_data_free(&data);
    return rc;
}

static vmb_code check_target(copying *c, vmb_error **err)
{
    vmbi_buf path = VMBI_BUF_INIT(1024);
    bool exists = false;
    const vmbi_store_location *to = c->to->store.location;
    if (to->read_only) {
        return vmbi_fail(err, VMB_E_DENIED, "location %s is read-only", to->name);
    }
    vmb_code rc = vmbi_backup_file(c->backup, metadata_name, &path, err);
    if (rc == VMB_OK) {
        rc = vmbi_store_exists(&c->to->store, &c->to_job, path.data, &exists, NULL, err);
    }
    if (rc == VMB_OK && exists) {
        rc = vmbi_fail(err, VMB_E_EXISTS, "location %s has a backup %s already", to->name,
                       c->backup);
    }
    vmbi_buf_free(&path);
    return rc;
}

static vmb_code report(const copying *c, vmbi_json **out, vmb_error **err)
{
    vmbi_json *r = vmbi_json_object();
    bool ok = r != NULL && vmbi_json_set_str(r, "backup", c->backup) &&
              vmbi_json_set_str(r, "from", c->from->store.location->name) &&
              vmbi_json_set_str(r, "to", c->to->store.location->name) &&
              vmbi_json_set_int(r, "files", c->files) && vmbi_json_set_int(r, "bytes", c->bytes);
    if (!ok) {
        vmbi_json_free(r);
        return vmbi_fail_nomem(err);
    }
    *out = r;
    return VMB_OK;
}

/* Removes what an earlier copy that ended early left and this one does not write. */
static vmb_code drop_leftovers(copying *c, const char *folder, const vmbi_catalog_keys *wanted,
                               vmb_error **err)
{
    vmbi_catalog_keys there = {0};
    vmb_code rc = vmbi_catalog_keys_of(c->to, folder, &there, err);
    for (size_t i = 0; i < there.n && rc == VMB_OK; i++) {
        bool keep = false;
        for (size_t k = 0; k < wanted->n && !keep; k++) {
            keep = strcmp(wanted->v[k].path, there.v[i].path) == 0;
        }
        if (!keep) {
            rc = vmbi_store_remove(&c->to->store, &c->to_job, there.v[i].path, err);
        }
    }
    vmbi_catalog_keys_free(&there);
    return rc;
}

/* Has the source stayed the same while it was read? */
static vmb_code check_source(copying *c, const vmbi_json *meta, vmb_error **err)
{
    vmbi_json *now = NULL;
    vmb_code rc = vmbi_catalog_require(c->from, c->backup, &now, err);
    if (rc == VMB_OK && !vmbi_json_equal(now, meta)) {
        rc = vmbi_fail(err, VMB_E_CONFLICT, "backup %s changed while it was copied", c->backup);
    }
    vmbi_json_free(now);
    return rc;
}

static vmb_code copy_all(copying *c, vmbi_json *meta, vmb_error **err)
{
    vmbi_buf folder = VMBI_BUF_INIT(1024);
    vmbi_catalog_keys keys = {0};
    vmb_code rc = vmbi_backup_file(c->backup, "", &folder, err);
    if (rc == VMB_OK) {
        rc = vmbi_catalog_keys_of(c->from, folder.data, &keys, err);
    }
    if (rc == VMB_OK) {
        rc = drop_leftovers(c, folder.data, &keys, err);
    }
    for (size_t i = 0; i < keys.n && rc == VMB_OK; i++) {
        const char *file = keys.v[i].path + folder.len;
        if (strcmp(file, metadata_name) != 0 && strcmp(file, VMBI_CATALOG_DELETING) != 0) {
            rc = copy_file(c, keys.v[i].path, err);
        }
    }
    if (rc == VMB_OK) {
        rc = check_source(c, meta, err);
    }
    if (rc == VMB_OK) {
        rc = copy_metadata(c, meta, err);
    }
    vmbi_catalog_keys_free(&keys);
    vmbi_buf_free(&folder);
    return rc;
}

vmb_code vmbi_catalog_copy(vmb_catalog *from, const char *backup, vmb_catalog *to,
                           const vmbi_copy_options *o, vmbi_json **out, vmb_error **err)
{
    copying c = {.from = from, .to = to, .backup = backup, .job = vmbi_catalog_job(from),
                 .to_job = vmbi_catalog_job(to)};
    vmbi_json *meta = NULL;
    vmb_code rc = vmbi_catalog_require(from, backup, &meta, err);
    if (rc == VMB_OK) {
        rc = check_finished(&c, meta, err);
    }
    if (rc == VMB_OK) {
        rc = check_target(&c, err);
    }
    if (rc == VMB_OK && !o->archive_only) {
        rc = check_data(&c, err);
    }
    if (rc == VMB_OK) {
        rc = copy_all(&c, meta, err);
        rc = rc != VMB_OK ? vmbi_wrap(err, rc, "copy backup %s", backup) : VMB_OK;
    }
    if (rc == VMB_OK && out != NULL) {
        rc = report(&c, out, err);
    }
    vmbi_json_free(meta);
    return rc;
}
