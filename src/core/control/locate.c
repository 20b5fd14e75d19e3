/* SPDX-License-Identifier: Apache-2.0 */
/* Storage locations of the cluster, opened for the time of one piece of work: a changed credential
 * or setting counts from the next one on. */
#include "core/control/control.h"

#include <string.h>

#include "base/error.h"

enum { METADATA_MAX_BYTES = 4 << 20, FOLDERS_MAX = 100000, FILES_MAX = 1000000 };

/* ---- opening ------------------------------------------------------------------------------ */

typedef struct newest {
    vmbi_buf *name;
    char created[64];
} newest;

/* Of several defaults the newest one counts. */
static void look_default(void *user, const vmbi_cached *e)
{
    newest *n = user;
    const char *created = vmbi_cached_field(e, VMBI_LOCATION_CREATED);
    if (strcmp(vmbi_cached_field(e, VMBI_LOCATION_DEFAULT), "true") == 0 &&
        strlen(created) < sizeof(n->created) &&
        (n->name->len == 0 || strcmp(created, n->created) > 0)) {
        vmbi_buf_reset(n->name);
        vmbi_buf_adds(n->name, e->name);
        memcpy(n->created, created, strlen(created) + 1);
    }
}

vmb_code vmbi_default_location(vmb_control *c, vmbi_buf *out, vmb_error **err)
{
    newest n = {out, ""};
    vmbi_buf_reset(out);
    vmbi_cached_each(c, VMBI_KIND_LOCATION, look_default, &n);
    if (out->len == 0) {
        vmbi_buf_adds(out, c->settings.default_location);
    }
    return vmbi_buf_check(out, err, "name of the default location");
}

vmb_code vmbi_locate(vmb_control *c, const char *name, vmbi_located *out, vmb_error **err)
{
    vmbi_located l = {0};
    vmbi_buf dflt = VMBI_BUF_INIT(1024);
    vmb_code rc = VMB_OK;
    if (name == NULL || name[0] == '\0') {
        rc = vmbi_default_location(c, &dflt, err);
        name = dflt.data;
    }
    if (rc == VMB_OK) {
        rc = vmbi_object_get(c, VMBI_KIND_LOCATION, name, &l.tree, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_ctx_derive(c->ctx, &l.ctx, err);
    }
    if (rc == VMB_OK) {
        rc = c->add_location(l.ctx, l.tree, err);
    }
    if (rc == VMB_OK) {
        l.store = (vmbi_store){&l.ctx->locations[0], c->ctx->settings.resource_timeout_ns};
        vmbi_ctx_freeze(l.ctx);
        *out = l;
    } else {
        vmbi_located_done(&l);
    }
    vmbi_buf_free(&dflt);
    return rc;
}

void vmbi_located_done(vmbi_located *l)
{
    if (l->ctx != NULL) {
        vmbi_ctx_unref(l->ctx);
    }
    vmbi_json_free(l->tree);
    *l = (vmbi_located){0};
}

const char *vmbi_located_phase(const vmbi_located *l)
{
    const char *phase = vmbi_json_path_str(l->tree, "status.phase");
    return phase != NULL ? phase : "";
}

bool vmbi_located_read_only(const vmbi_located *l)
{
    return l->store.location->read_only;
}

/* ---- what lies there ---------------------------------------------------------------------- */

static vmb_code note_folder(void *user, const char *key, int64_t size, int64_t mtime,
                            int32_t is_prefix, vmb_error **err)
{
    static const char top[] = "backups/";
    vmbi_strs *names = user;
    (void)size;
    (void)mtime;
    if (!is_prefix || !vmbi_starts_with(key, top)) {
        return VMB_OK;
    }
    const char *name = key + sizeof(top) - 1;
    size_t len = strcspn(name, "/");
    if (names->n >= FOLDERS_MAX) {
        return vmbi_fail(err, VMB_E_LIMIT, "more than %d backups in the location", FOLDERS_MAX);
    }
    return len > 0 ? vmbi_strs_addn(names, name, len, err) : VMB_OK;
}

vmb_code vmbi_located_backups(vmb_control *c, const vmbi_located *l, vmbi_strs *out,
                              vmb_error **err)
{
    struct vmb_key_sink sink = {note_folder, out};
    vmb_job job = vmbi_control_job(c, VMBI_NORMAL);
    return vmbi_store_list(&l->store, &job, "backups/", "/", &sink, err);
}

vmb_code vmbi_located_metadata(vmb_control *c, const vmbi_located *l, const char *backup,
                               vmbi_json **out, vmb_error **err)
{
    vmb_job job = vmbi_control_job(c, VMBI_LAST_WORD);
    vmbi_buf path = VMBI_BUF_INIT(1024);
    vmbi_buf text = VMBI_BUF_INIT(METADATA_MAX_BYTES);
    vmbi_json *doc = NULL;
    vmbi_buf_addf(&path, "backups/%s/velero-backup.json", backup);
    vmb_code rc = vmbi_buf_check(&path, err, "name of a file");
    if (rc == VMB_OK) {
        rc = vmbi_store_get(&l->store, &job, path.data, &text, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_json_parse(text.data != NULL ? text.data : "", text.len, path.data, &doc, err);
    }
    if (rc == VMB_OK && !vmbi_streq(vmbi_json_path_str(doc, "metadata.name"), backup)) {
        rc = vmbi_fail(err, VMB_E_INVALID, "%s: metadata.name is another one", path.data);
    }
    if (rc == VMB_OK) {
        *out = doc;
    } else {
        vmbi_json_free(doc);
    }
    vmbi_buf_free(&path);
    vmbi_buf_free(&text);
    return rc;
}

static vmb_code note_file(void *user, const char *key, int64_t size, int64_t mtime,
                          int32_t is_prefix, vmb_error **err)
{
    vmbi_strs *keys = user;
    (void)size;
    (void)mtime;
    if (is_prefix) {
        return VMB_OK;
    }
    return keys->n < FILES_MAX ? vmbi_strs_add(keys, key, err)
                               : vmbi_fail(err, VMB_E_LIMIT, "more than %d files", FILES_MAX);
}

vmb_code vmbi_located_clear(vmb_control *c, const vmbi_located *l, const char *folder,
                            vmb_error **err)
{
    vmbi_strs keys = {0};
    struct vmb_key_sink sink = {note_file, &keys};
    vmb_job job = vmbi_control_job(c, VMBI_LAST_WORD);
    vmb_code rc = vmbi_store_list(&l->store, &job, folder, NULL, &sink, err);
    /* first what makes the rest a backup */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < keys.n && rc == VMB_OK; i++) {
            bool metadata = vmbi_ends_with(keys.v[i], "/velero-backup.json");
            if (metadata == (pass == 0)) {
                rc = vmbi_store_remove(&l->store, &job, keys.v[i], err);
            }
        }
    }
    vmbi_strs_free(&keys);
    return rc;
}
