/* SPDX-License-Identifier: Apache-2.0 */
/* The key files of a repository. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "codec/digest.h"
#include "repo/restic/keyfile.h"
#include "repo/restic/restic.h"

static const char dir[] = "keys/";

static vmb_code load(vmbi_restic *r, const vmbi_repo_id *id, vmbi_restic_keyfile *out,
                     vmb_error **err)
{
    vmbi_buf raw = VMBI_BUF_INIT(VMBI_RESTIC_KEY_MAX_BYTES);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id real;
    vmb_code code = VMB_OK;

    vmbi_restic_path(path, dir, id);
    code = vmbi_storage_get(&r->storage, path, &raw, err);
    if (code == VMB_OK) {
        vmbi_sha256(raw.data, raw.len, real.b);
        if (memcmp(real.b, id->b, VMBI_REPO_ID_SIZE) != 0) {
            /* Not fatal: a key that still opens saves the repository. */
            vmbi_restic_log(r, VMB_LOG_WARNING, "%s: damaged: the content does not match the name",
                            path);
        }
        code = vmbi_restic_keyfile_parse(raw.data != NULL ? raw.data : "", raw.len, out, err);
        if (code != VMB_OK) {
            code = vmbi_wrap(err, code, "%s", path);
        }
    }
    vmbi_buf_free(&raw);
    return code;
}

static vmb_code try_key(vmbi_restic *r, const vmbi_repo_id *id, const void *password, size_t len,
                        vmb_error **err)
{
    vmbi_restic_keyfile k;
    vmb_code code = load(r, id, &k, err);

    if (code == VMB_OK) {
        code = vmbi_restic_keyfile_unlock(&k, password, len, &r->keys, err);
    }
    if (code == VMB_OK) {
        r->key_id = *id;
        r->scrypt_n = k.n;
        r->scrypt_r = k.r;
        r->scrypt_p = k.p;
    }
    return code;
}

static bool matches(const vmbi_repo_id *id, const char *hint)
{
    char hex[VMBI_REPO_HEX_SIZE];

    vmbi_repo_id_hex(id, hex);
    return hint != NULL && hint[0] != '\0' && strncmp(hex, hint, strlen(hint)) == 0;
}

/* Tries the hinted keys (pass 0), then the others (pass 1), at most KEY_TRIES in all. A key file
 * that cannot be used is remembered: it may have been the right one. */
vmb_code vmbi_restic_key_find(vmbi_restic *r, const void *password, size_t len, const char *hint,
                              vmb_error **err)
{
    vmbi_id_list list = {NULL, NULL, 0, 0};
    vmb_error *broken = NULL;
    size_t tried = 0, i = 0;
    int pass = 0;
    bool found = false;
    vmb_code code = vmbi_restic_list(r, dir, &list, err);

    for (pass = 0; code == VMB_OK && pass < 2 && !found; pass++) {
        for (i = 0; code == VMB_OK && i < list.n && tried < VMBI_RESTIC_KEY_TRIES && !found; i++) {
            vmb_error *why = NULL;
            vmb_code one = VMB_OK;

            if (matches(&list.v[i], hint) != (pass == 0)) {
                continue;
            }
            tried++;
            code = vmbi_limits_check(&r->storage.job->limits, err, "open repository");
            one = code == VMB_OK ? try_key(r, &list.v[i], password, len, &why) : code;
            found = one == VMB_OK;
            if (code == VMB_OK && (one == VMB_E_NOMEM || one == VMB_E_CANCELLED ||
                                   one == VMB_E_TIMEOUT || one == VMB_E_NET)) {
                code = one;
                vmbi_error_move(err, &why);
            } else if (!found && one != VMB_E_DENIED && broken == NULL) {
                vmbi_error_move(&broken, &why);
            }
            vmb_error_free(why);
        }
    }
    if (code == VMB_OK && !found) {
        if (broken != NULL) {
            code = vmb_error_code(broken);
            vmbi_error_move(err, &broken);
        } else if (list.n == 0) {
            code = vmbi_fail(err, VMB_E_NOT_FOUND, "repository: there are no keys");
        } else {
            code = vmbi_fail(err, VMB_E_DENIED, "repository: none of the %zu keys tried opens with "
                             "this password", tried);
        }
    }
    vmb_error_free(broken);
    vmbi_id_list_free(&list);
    return code;
}

vmb_code vmbi_restic_key_new(vmbi_restic *r, const void *password, size_t len, vmbi_repo_id *id,
                             vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(VMBI_RESTIC_KEY_MAX_BYTES);
    vmbi_restic_keyfile k;
    vmb_code code = VMB_OK;

    memset(&k, 0, sizeof(k));
    vmbi_format_rfc3339(vmbi_unix_ns(), k.created);
    memcpy(k.username, r->username, sizeof(k.username));
    memcpy(k.hostname, r->hostname, sizeof(k.hostname));
    k.n = r->scrypt_n;
    k.r = r->scrypt_r;
    k.p = r->scrypt_p;
    code = vmbi_restic_keyfile_seal(&k, password, len, &r->keys, err);
    if (code == VMB_OK) {
        code = vmbi_restic_keyfile_print(&k, &text, err);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_put_named(r, NULL, dir, text.data, text.len, id, err);
    }
    vmbi_buf_free(&text);
    return code;
}

vmb_code vmbi_restic_key_list(vmbi_repo *base, vmbi_repo_key_fn fn, void *user, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_id_list list = {NULL, NULL, 0, 0};
    size_t i = 0;
    vmb_code code = vmbi_restic_list(r, dir, &list, err);

    for (i = 0; code == VMB_OK && i < list.n; i++) {
        vmbi_restic_keyfile k;
        vmbi_repo_key out;
        vmb_error *why = NULL;

        if (load(r, &list.v[i], &k, &why) != VMB_OK) {
            vmbi_restic_log(r, VMB_LOG_WARNING, "%s", vmb_error_message(why));
            vmb_error_free(why);
            continue;
        }
        memset(&out, 0, sizeof(out));
        vmbi_repo_id_hex(&list.v[i], out.id);
        memcpy(out.created, k.created, sizeof(out.created));
        memcpy(out.username, k.username, sizeof(out.username));
        memcpy(out.hostname, k.hostname, sizeof(out.hostname));
        out.current = memcmp(list.v[i].b, r->key_id.b, VMBI_REPO_ID_SIZE) == 0;
        code = fn(user, &out, err);
    }
    vmbi_id_list_free(&list);
    return code;
}

vmb_code vmbi_restic_key_add(vmbi_repo *base, const void *password, size_t len,
                             char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_repo_id own;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_SHARED, err);

    if (code == VMB_OK) {
        code = vmbi_restic_key_new(r, password, len, &own, err);
    }
    if (code == VMB_OK) {
        vmbi_repo_id_hex(&own, id);
    }
    return code;
}

vmb_code vmbi_restic_key_remove(vmbi_repo *base, const char *id, vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    vmbi_repo_id own;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_EXCLUSIVE, err);

    if (code != VMB_OK) {
        return code;
    }
    if (!vmbi_repo_id_parse(id, strlen(id), &own)) {
        return vmbi_fail(err, VMB_E_ARG, "key \"%.80s\": not a whole ID", id);
    }
    if (memcmp(own.b, r->key_id.b, VMBI_REPO_ID_SIZE) == 0) {
        return vmbi_fail(err, VMB_E_STATE, "key %.8s: in use, it opened the repository", id);
    }
    return vmbi_restic_remove_named(r, dir, "key", &own, err);
}

vmb_code vmbi_restic_key_passwd(vmbi_repo *base, const void *password, size_t len,
                                char id[VMBI_REPO_HEX_SIZE], vmb_error **err)
{
    vmbi_restic *r = vmbi_restic_of(base);
    char path[VMBI_RESTIC_PATH];
    vmbi_repo_id own;
    vmb_code code = vmbi_restic_may_write(r, VMBI_REPO_EXCLUSIVE, err);

    if (code == VMB_OK) {
        code = vmbi_restic_key_new(r, password, len, &own, err);
    }
    if (code == VMB_OK) { /* the new key is durable: the old one may go */
        vmbi_restic_path(path, dir, &r->key_id);
        r->key_id = own;
        vmbi_repo_id_hex(&own, id);
        code = vmbi_storage_remove(&r->storage, NULL, path, err);
    }
    return code;
}
