/* SPDX-License-Identifier: Apache-2.0 */
/* The password of the repositories. Source: Velero 1.18 pkg/repository/keys/keys.go. Velero hands
 * it to restic in a file, which restic trims; so do we. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"
#include "providers/common/objects.h"
#include "providers/volume_repo/volume_repo.h"

enum { MAX_PASSWORD = 64 * 1024 };

/* Of repositories that nobody gave a password: public knowledge, in Velero's source. */
static const char well_known[] = "static-passw0rd";

/* The Secret, and what it was called before Velero 1.10. */
static const char *const secrets[] = {"velero-repo-credentials", "velero-restic-credentials"};

void vmbi_volrepo_wipe(vmbi_buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    vmbi_buf_free(b);
}

static vmb_code set_trimmed(const char *text, size_t len, vmbi_buf *out, const char *whence,
                            vmb_error **err)
{
    while (len > 0 && vmbi_is_space(text[0])) {
        text++;
        len--;
    }
    while (len > 0 && vmbi_is_space(text[len - 1])) {
        len--;
    }
    if (len == 0) {
        return vmbi_fail(err, VMB_E_INVALID, "the repositories' password in %s is empty", whence);
    }
    vmbi_buf_reserve(out, len); /* at once: growing would leave copies behind */
    vmbi_buf_add(out, text, len);
    return vmbi_buf_check(out, err, "password");
}

static vmb_code from_file(const char *path, vmbi_buf *out, vmb_error **err)
{
    char *text = vmbi_zalloc(MAX_PASSWORD);
    size_t len = 0;
    ssize_t n = 1;
    vmb_code code = VMB_OK;
    if (text == NULL) {
        return vmbi_fail_nomem(err);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd >= 0 && n > 0 && len < MAX_PASSWORD) {
        n = read(fd, text + len, MAX_PASSWORD - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || n < 0) {
        code = vmbi_fail_errno(err, errno, "read the password file %s", path);
    } else if (len == MAX_PASSWORD) {
        code = vmbi_fail(err, VMB_E_LIMIT, "the password file %s is too long", path);
    } else {
        code = set_trimmed(text, len, out, path, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    explicit_bzero(text, MAX_PASSWORD);
    vmbi_free(text);
    return code;
}

static vmb_code from_secret(const vmbi_json *secret, const char *name, vmbi_buf *out,
                            vmb_error **err)
{
    const char *text =
        vmbi_json_get_str(vmbi_json_get(secret, "data"), "repository-password");
    uint8_t *raw = NULL;
    size_t len = 0;
    if (text == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "Secret %s has no key repository-password", name);
    }
    vmb_code code = vmbi_unbase64(text, strlen(text), &raw, &len, err);
    if (code == VMB_OK) {
        code = set_trimmed((const char *)raw, len, out, name, err);
        explicit_bzero(raw, len);
    }
    vmbi_free(raw);
    return code;
}

/* Where Velero's resources live: the namespace of the Backup, unless the settings name one. */
static vmb_code velero_namespace(const vmbi_volrepo *p, const vmb_job *job, char *out, size_t size,
                                 vmb_error **err)
{
    const char *text = vmb_job_backup_json(job);
    vmbi_json *backup = NULL;
    vmb_code code = text != NULL ? vmbi_json_parse(text, strlen(text), "backup", &backup, err)
                                 : VMB_OK;
    const char *ns = vmbi_json_path_str(backup, "metadata.namespace");
    ns = p->ns[0] != '\0' ? p->ns : ns;
    ns = ns != NULL && ns[0] != '\0' ? ns : "velero";
    if (code == VMB_OK && strlen(ns) >= size) {
        code = vmbi_fail(err, VMB_E_LIMIT, "namespace %.80s: too long", ns);
    }
    if (code == VMB_OK) {
        memcpy(out, ns, strlen(ns) + 1);
    }
    vmbi_json_free(backup);
    return code;
}

static vmb_code from_cluster(const vmbi_volrepo *p, vmb_job *job, vmbi_buf *out, vmb_error **err)
{
    char ns[256];
    vmb_code code = velero_namespace(p, job, ns, sizeof ns, err);
    if (code == VMB_OK && vmb_job_cluster(job) == NULL) {
        return vmbi_fail(err, VMB_E_STATE,
                         "no cluster to read the repositories' password from: set password or "
                         "passwordFile");
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(secrets) && code == VMB_OK; i++) {
        vmbi_json *secret = NULL;
        vmb_error *why = NULL;
        code = vmbi_fetch(job, "", "secrets", ns, secrets[i], &secret, &why);
        if (code == VMB_OK) {
            code = from_secret(secret, secrets[i], out, err);
            vmbi_json_free(secret);
            return code;
        }
        if (code == VMB_E_NOT_FOUND) {
            vmb_error_free(vmbi_steal(&why));
            code = VMB_OK;
        }
        if (code != VMB_OK) {
            vmbi_error_move(err, &why);
            code = vmbi_wrap(err, code, "read Secret %s/%s", ns, secrets[i]);
        }
    }
    return code != VMB_OK ? code
                          : set_trimmed(well_known, sizeof well_known - 1, out, "the source", err);
}

vmb_code vmbi_volrepo_password(const vmbi_volrepo *p, vmb_job *job, vmbi_buf *out, vmb_error **err)
{
    if (p->password != NULL) {
        vmbi_buf_reserve(out, strlen(p->password));
        vmbi_buf_adds(out, p->password); /* as it is: it came from no file */
        return vmbi_buf_check(out, err, "password");
    }
    return p->password_file != NULL ? from_file(p->password_file, out, err)
                                    : from_cluster(p, job, out, err);
}
