/* SPDX-License-Identifier: Apache-2.0 */
/* repo.h: what a repository is, and its keys. */
#include <stdio.h>
#include <string.h>

#include "api/repo_handle.h"
#include "base/alloc.h"
#include "base/error.h"

enum { MAX_KEYS = 1000 };

vmb_code vmb_repo_info_json(vmb_repo *repo, char **out, size_t *out_len, vmb_error **err)
{
    vmbi_repo_info info;
    char polynomial[20];

    if (out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_info_json", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_info_json", err);
    if (rc != VMB_OK) {
        return rc;
    }
    vmbi_repo_get_info(repo->repo, &info);
    (void)snprintf(polynomial, sizeof(polynomial), "%llx",
                   (unsigned long long)info.chunker_polynomial);
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;
    ok = ok && vmbi_json_set_str(v, "id", info.id);
    ok = ok && vmbi_json_set_int(v, "version", info.version);
    ok = ok && vmbi_json_set_str(v, "format", info.format);
    ok = ok && vmbi_json_set_str(v, "chunkerPolynomial", polynomial);
    ok = ok && vmbi_json_set_str(v, "location", repo->location->name);
    ok = ok && vmbi_json_set_str(v, "prefix", repo->prefix);
    ok = ok && vmbi_json_set_bool(v, "readOnly", repo->location->read_only);
    if (!ok) {
        vmbi_json_free(v);
        v = NULL;
    }
    rc = vmbi_repoapi_give(v, out, out_len, err);
    vmbi_repoapi_leave(repo);
    return rc;
}

static vmb_code add_key(void *user, const vmbi_repo_key *k, vmb_error **err)
{
    vmbi_json *list = user;
    vmbi_json *v = vmbi_json_object();
    bool ok = v != NULL;

    if (vmbi_json_len(list) >= MAX_KEYS) {
        vmbi_json_free(v);
        return vmbi_fail(err, VMB_E_LIMIT, "repository: more than %d keys", MAX_KEYS);
    }
    ok = ok && vmbi_json_set_str(v, "id", k->id);
    ok = ok && vmbi_json_set_str(v, "created", k->created);
    ok = ok && vmbi_json_set_str(v, "userName", k->username);
    ok = ok && vmbi_json_set_str(v, "hostName", k->hostname);
    ok = ok && vmbi_json_set_bool(v, "current", k->current);
    if (!ok) {
        vmbi_json_free(v);
        v = NULL;
    }
    return vmbi_json_append(list, v) ? VMB_OK : vmbi_fail_nomem(err);
}

vmb_code vmb_repo_keys_json(vmb_repo *repo, char **out, size_t *out_len, vmb_error **err)
{
    vmbi_json *list = NULL;

    if (out == NULL) {
        return vmbi_repoapi_missing("vmb_repo_keys_json", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_keys_json", err);
    if (rc != VMB_OK) {
        return rc;
    }
    list = vmbi_json_array();
    rc = list != NULL ? VMB_OK : vmbi_fail_nomem(err);
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_READ, false, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repo_key_list(repo->repo, add_key, list, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_give(vmbi_steal(&list), out, out_len, err);
    }
    vmbi_json_free(list);
    vmbi_repoapi_leave(repo);
    return rc;
}

static vmb_code check_password(const char *password, size_t len, const char *function,
                               vmb_error **err)
{
    if (password == NULL) {
        return vmbi_repoapi_missing(function, err);
    }
    return len > 0 ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "%s: the password is empty", function);
}

typedef vmb_code (*new_key_fn)(vmbi_repo *r, const void *password, size_t len,
                               char id[VMBI_REPO_HEX_SIZE], vmb_error **err);

static vmb_code new_key(vmb_repo *repo, const char *function, vmbi_repoapi_need need, new_key_fn fn,
                        const char *password, size_t len, char **id, vmb_error **err)
{
    char hex[VMBI_REPO_HEX_SIZE] = "";
    char *copy = vmbi_alloc(sizeof(hex)); /* before the key is there: afterwards nothing may fail */
    vmb_code rc = check_password(password, len, function, err);

    if (rc == VMB_OK && copy == NULL) {
        rc = vmbi_fail_nomem(err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_enter(repo, function, err);
    }
    if (rc != VMB_OK) {
        vmbi_free(copy);
        return rc;
    }
    rc = vmbi_repoapi_lock(repo, need, false, err);
    if (rc == VMB_OK) {
        rc = fn(repo->repo, password, len, hex, err);
        vmbi_repoapi_unlock(repo);
    }
    if (rc == VMB_OK && id != NULL) {
        memcpy(copy, hex, sizeof(hex));
        *id = vmbi_steal(&copy);
    }
    vmbi_free(copy);
    vmbi_repoapi_leave(repo);
    return rc;
}

vmb_code vmb_repo_key_add(vmb_repo *repo, const char *password, size_t len, char **id,
                          vmb_error **err)
{
    return new_key(repo, "vmb_repo_key_add", VMBI_REPOAPI_WRITE, vmbi_repo_key_add, password, len,
                   id, err);
}

vmb_code vmb_repo_key_passwd(vmb_repo *repo, const char *password, size_t len, char **id,
                             vmb_error **err)
{
    return new_key(repo, "vmb_repo_key_passwd", VMBI_REPOAPI_EXCLUSIVE, vmbi_repo_key_passwd,
                   password, len, id, err);
}

/* The whole ID of the one key that starts with `start`. */
typedef struct key_search {
    const char *start;
    char id[VMBI_REPO_HEX_SIZE];
    size_t found;
} key_search;

static vmb_code match_key(void *user, const vmbi_repo_key *k, vmb_error **err)
{
    key_search *s = user;

    (void)err;
    if (strncmp(k->id, s->start, strlen(s->start)) == 0) {
        memcpy(s->id, k->id, sizeof(s->id));
        s->found++;
    }
    return VMB_OK;
}

vmb_code vmb_repo_key_remove(vmb_repo *repo, const char *id, vmb_error **err)
{
    key_search s = {.start = id};

    if (id == NULL) {
        return vmbi_repoapi_missing("vmb_repo_key_remove", err);
    }
    vmb_code rc = vmbi_repoapi_enter(repo, "vmb_repo_key_remove", err);
    if (rc != VMB_OK) {
        return rc;
    }
    rc = id[0] != '\0' ? VMB_OK : vmbi_fail(err, VMB_E_ARG, "vmb_repo_key_remove: id is empty");
    if (rc == VMB_OK) {
        rc = vmbi_repoapi_lock(repo, VMBI_REPOAPI_EXCLUSIVE, false, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_repo_key_list(repo->repo, match_key, &s, err);
        if (rc == VMB_OK && s.found != 1) {
            rc = vmbi_fail(err, s.found == 0 ? VMB_E_NOT_FOUND : VMB_E_CONFLICT,
                           s.found == 0 ? "key \"%.80s\": there is none"
                                        : "key \"%.80s\": several keys start like that",
                           id);
        }
        if (rc == VMB_OK) {
            rc = vmbi_repo_key_remove(repo->repo, s.id, err);
        }
        vmbi_repoapi_unlock(repo);
    }
    vmbi_repoapi_leave(repo);
    return rc;
}
