/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/repo.h"

#include <string.h>

#include "base/error.h"
#include "codec/digest.h"
#include "repo/format.h"

static const vmbi_repo_format *const formats[] = {&vmbi_repo_restic};

static vmb_code choose(const vmbi_repo_options *o, const vmbi_repo_format **out, vmb_error **err)
{
    const char *name = o->format != NULL ? o->format : "restic";
    size_t i = 0;

    if (o->store == NULL || o->job == NULL || (o->password == NULL && o->password_len > 0)) {
        return vmbi_fail(err, VMB_E_ARG, "repository: store, job or password is missing");
    }
    for (i = 0; i < VMBI_ARRAY_LEN(formats); i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            *out = formats[i];
            return VMB_OK;
        }
    }
    return vmbi_fail(err, VMB_E_ARG, "repository format \"%.64s\": not known, known is restic", name);
}

vmb_code vmbi_repo_init(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err)
{
    const vmbi_repo_format *format = NULL;
    vmb_code code = choose(o, &format, err);

    return code == VMB_OK ? format->init(o, out, err) : code;
}

vmb_code vmbi_repo_open(const vmbi_repo_options *o, vmbi_repo **out, vmb_error **err)
{
    const vmbi_repo_format *format = NULL;
    vmb_code code = choose(o, &format, err);

    return code == VMB_OK ? format->open(o, out, err) : code;
}

void vmbi_repo_close(vmbi_repo *r)
{
    if (r != NULL) {
        r->format->close(r);
    }
}

void vmbi_repo_get_info(const vmbi_repo *r, vmbi_repo_info *out)
{
    r->format->get_info(r, out);
}

vmb_code vmbi_repo_lock(vmbi_repo *r, vmbi_repo_lock_kind kind, int64_t wait_ns, vmb_error **err)
{
    return r->format->lock(r, kind, wait_ns, err);
}

void vmbi_repo_unlock(vmbi_repo *r)
{
    r->format->unlock(r);
}

vmb_code vmbi_repo_break_locks(vmbi_repo *r, bool all, size_t *removed, vmb_error **err)
{
    return r->format->break_locks(r, all, removed, err);
}

vmb_code vmbi_repo_load_index(vmbi_repo *r, vmb_error **err)
{
    return r->format->load_index(r, err);
}

vmb_code vmbi_repo_reset(vmbi_repo *r, vmb_error **err)
{
    return r->format->reset(r, err);
}

vmb_code vmbi_repo_renew_index(vmbi_repo *r, vmb_error **err)
{
    return r->format->renew_index(r, err);
}

void vmbi_repo_hash(const vmbi_repo *r, const void *data, size_t len, vmbi_repo_id *out)
{
    r->format->hash(r, data, len, out);
}

void vmbi_repo_hash_pair(const vmbi_repo *r, const void *a, size_t a_len, vmbi_repo_id *a_out,
                         const void *b, size_t b_len, vmbi_repo_id *b_out)
{
    r->format->hash_pair(r, a, a_len, a_out, b, b_len, b_out);
}

bool vmbi_repo_has_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id)
{
    return r->format->has_blob(r, type, id);
}

bool vmbi_repo_blob_size(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                         uint64_t *size_bytes)
{
    return r->format->blob_size(r, type, id, size_bytes);
}

vmb_code vmbi_repo_save_blob(vmbi_repo *r, vmbi_blob_type type, const void *data, size_t len,
                             vmbi_repo_id *id, bool *known, vmb_error **err)
{
    return r->format->save_blob(r, type, data, len, id, known, err);
}

vmb_code vmbi_repo_save_hashed(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                               const void *data, size_t len, bool *known, vmb_error **err)
{
    return r->format->save_hashed(r, type, id, data, len, known, err);
}

vmb_code vmbi_repo_load_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                             vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_reset(out);
    return r->format->load_blob(r, type, id, out, err);
}

vmb_code vmbi_repo_load_blob_into(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                                  void *out, size_t cap, size_t *len, vmb_error **err)
{
    return r->format->load_blob_into(r, type, id, out, cap, len, err);
}

bool vmbi_repo_find_blob(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *id,
                         vmbi_blob_place *out)
{
    return r->format->find_blob(r, type, id, out);
}

vmb_code vmbi_repo_load_run(vmbi_repo *r, vmbi_blob_type type, const vmbi_repo_id *ids,
                            const vmbi_blob_place *places, size_t n, bool in_order,
                            vmbi_repo_blob_fn fn, void *user, vmb_error **err)
{
    return r->format->load_run(r, type, ids, places, n, in_order, fn, user, err);
}

vmb_code vmbi_repo_flush(vmbi_repo *r, vmb_error **err)
{
    return r->format->flush(r, err);
}

void vmbi_repo_get_stats(vmbi_repo *r, vmbi_repo_stats *out)
{
    r->format->get_stats(r, out);
}

vmb_code vmbi_repo_snapshot_list(vmbi_repo *r, vmbi_snapshot_fn fn, void *user, vmb_error **err)
{
    return r->format->snapshot_list(r, fn, user, err);
}

vmb_code vmbi_repo_snapshot_load(vmbi_repo *r, const char *id, char full_id[VMBI_REPO_HEX_SIZE],
                                 vmbi_json **out, vmb_error **err)
{
    return r->format->snapshot_load(r, id, full_id, out, err);
}

vmb_code vmbi_repo_snapshot_save(vmbi_repo *r, const vmbi_json *snapshot,
                                 char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    return r->format->snapshot_save(r, snapshot, id, err);
}

vmb_code vmbi_repo_snapshot_delete(vmbi_repo *r, const char *id, vmb_error **err)
{
    return r->format->snapshot_delete(r, id, err);
}

vmb_code vmbi_repo_key_list(vmbi_repo *r, vmbi_repo_key_fn fn, void *user, vmb_error **err)
{
    return r->format->key_list(r, fn, user, err);
}

vmb_code vmbi_repo_key_add(vmbi_repo *r, const void *password, size_t len,
                           char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    return r->format->key_add(r, password, len, id, err);
}

vmb_code vmbi_repo_key_remove(vmbi_repo *r, const char *id, vmb_error **err)
{
    return r->format->key_remove(r, id, err);
}

vmb_code vmbi_repo_key_passwd(vmbi_repo *r, const void *password, size_t len,
                              char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    return r->format->key_passwd(r, password, len, id, err);
}

vmb_code vmbi_repo_check(vmbi_repo *r, const vmbi_repo_check_options *o, vmbi_repo_finding_fn fn,
                         void *user, uint64_t *errors, vmb_error **err)
{
    return r->format->check(r, o, fn, user, errors, err);
}

vmb_code vmbi_repo_prune(vmbi_repo *r, const vmbi_repo_prune_options *o,
                         vmbi_repo_prune_stats *stats, vmb_error **err)
{
    return r->format->prune(r, o, stats, err);
}

void vmbi_repo_id_hex(const vmbi_repo_id *id, char out[VMBI_REPO_HEX_SIZE])
{
    vmbi_hex(id->b, VMBI_REPO_ID_SIZE, out);
}

bool vmbi_repo_id_parse(const char *hex, size_t len, vmbi_repo_id *out)
{
    vmbi_repo_id id;
    size_t i = 0;

    if (len != 2 * VMBI_REPO_ID_SIZE) {
        return false;
    }
    for (i = 0; i < len; i++) { /* lower case only: names of files are compared as bytes */
        if (!((hex[i] >= '0' && hex[i] <= '9') || (hex[i] >= 'a' && hex[i] <= 'f'))) {
            return false;
        }
    }
    if (!vmbi_unhex(hex, len, id.b)) {
        return false;
    }
    *out = id;
    return true;
}
