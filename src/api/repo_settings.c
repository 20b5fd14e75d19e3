/* SPDX-License-Identifier: Apache-2.0 */
/* The settings with which a repository is made and opened. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/repo_handle.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

enum { MAX_PASSWORD = 64 << 10, MAX_PREFIX = 512 };

#define FIELD(field, name, kind, ...)                                                              \
    VMBI_OPTION(vmbi_repo_settings, field, name, kind, __VA_ARGS__)

static const vmbi_option table[] = {
    FIELD(prefix, "prefix", STRING, -1, 0),
    FIELD(password, "password", STRING, -1, 0),
    FIELD(password_file, "passwordFile", STRING, 0, 0),
    FIELD(version, "version", INT, 1, 2),
    FIELD(compression, "compression", STRING, 0, 0),
    FIELD(pack_mib, "packSize", INT, 4, 128),
    FIELD(memory_mib, "memory", INT, 8, 4096),
    FIELD(uploads, "uploads", INT, 1, 16),
    FIELD(hostname, "host", STRING, 0, 0),
    FIELD(username, "username", STRING, 0, 0),
    FIELD(key_hint, "keyHint", STRING, 0, 0),
    FIELD(polynomial, "chunkerPolynomial", STRING, 0, 0),
    FIELD(lock_wait_ns, "lockWait", DURATION, 0, 0),
    FIELD(no_lock, "noLock", BOOL, 0, 0),
};

static const char what[] = "repository settings";

/* Reads a small file whole; what lay in memory is wiped on failure. */
static vmb_code slurp(const char *path, char *text, size_t cap, size_t *len, vmb_error **err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    size_t used = 0;

    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "%s: \"passwordFile\": open %s", what, path);
    }
    do {
        n = read(fd, text + used, cap - used);
        used += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && used < cap) || (n < 0 && errno == EINTR));
    int errnum = errno;
    (void)close(fd);
    if (n < 0) {
        return vmbi_fail_errno(err, errnum, "%s: \"passwordFile\": read %s", what, path);
    }
    if (used == cap) {
        return vmbi_fail(err, VMB_E_ARG, "%s: \"passwordFile\": %s has more than %d KiB", what,
                         path, MAX_PASSWORD >> 10);
    }
    *len = used;
    return VMB_OK;
}

static bool is_space(char c)
{
    return vmbi_is_space(c) || c == '\v' || c == '\f';
}

/* White space at the ends is no part of a password from a file: so it is with restic. */
static vmb_code read_password_file(vmbi_repo_settings *s, vmb_error **err)
{
    char *text = vmbi_alloc(MAX_PASSWORD + 1);
    size_t len = 0;
    size_t start = 0;

    if (text == NULL) {
        return vmbi_fail_nomem(err);
    }
    vmb_code rc = slurp(s->password_file, text, MAX_PASSWORD + 1, &len, err);
    if (rc == VMB_OK) {
        while (len > 0 && is_space(text[len - 1])) {
            len--;
        }
        while (start < len && is_space(text[start])) {
            start++;
        }
        s->secret = vmbi_strndup(text + start, len - start);
        s->secret_len = len - start;
        rc = s->secret != NULL ? VMB_OK : vmbi_fail_nomem(err);
    }
    explicit_bzero(text, MAX_PASSWORD + 1);
    vmbi_free(text);
    return rc;
}

static vmb_code read_password(vmbi_repo_settings *s, vmb_error **err)
{
    vmb_code rc = VMB_OK;

    if ((s->password != NULL) == (s->password_file != NULL)) {
        return vmbi_fail(err, VMB_E_ARG, "%s: give either \"password\" or \"passwordFile\"%s", what,
                         s->password != NULL ? ", not both" : "");
    }
    if (s->password != NULL) {
        s->secret = vmbi_strdup(s->password);
        s->secret_len = strlen(s->password);
        rc = s->secret != NULL ? VMB_OK : vmbi_fail_nomem(err);
    } else {
        rc = read_password_file(s, err);
    }
    if (rc == VMB_OK && s->secret_len == 0) {
        rc = vmbi_fail(err, VMB_E_ARG, "%s: the password is empty", what);
    }
    return rc;
}

static vmb_code read_compression(vmbi_repo_settings *s, vmb_error **err)
{
    static const char *const names[] = {"auto", "off", "max"};
    static const vmbi_repo_compression modes[] = {VMBI_REPO_AUTO, VMBI_REPO_OFF, VMBI_REPO_MAX};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(names) && s->compression != NULL; i++) {
        if (strcmp(s->compression, names[i]) == 0) {
            s->mode = modes[i];
            return VMB_OK;
        }
    }
    return s->compression == NULL
               ? VMB_OK
               : vmbi_fail(err, VMB_E_ARG,
                           "%s: \"compression\" is \"%.64s\", allowed are auto, off, "
                           "max",
                           what, s->compression);
}

static vmb_code read_polynomial(vmbi_repo_settings *s, vmb_error **err)
{
    uint64_t bits = 0;
    size_t n = 0;

    for (const char *p = s->polynomial; p != NULL && *p != '\0'; p++, n++) {
        char c = vmbi_lower(*p);
        bool letter = c >= 'a' && c <= 'f';

        if (n >= 16 || !(letter || vmbi_is_digit(c))) {
            return vmbi_fail(err, VMB_E_ARG,
                             "%s: \"chunkerPolynomial\" must be up to 16 hex digits", what);
        }
        bits = bits << 4 | (letter ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0'));
    }
    if (s->polynomial != NULL && bits == 0) { /* 0 would mean: any */
        return vmbi_fail(err, VMB_E_ARG, "%s: \"chunkerPolynomial\" is 0", what);
    }
    s->polynomial_bits = bits;
    return VMB_OK;
}

/* A prefix is part of keys: it must not lead elsewhere. */
static vmb_code check_prefix(const vmbi_repo_settings *s, vmb_error **err)
{
    const char *p = s->prefix != NULL ? s->prefix : "";

    if (strlen(p) > MAX_PREFIX) {
        return vmbi_fail(err, VMB_E_ARG, "%s: \"prefix\" has more than %d bytes", what, MAX_PREFIX);
    }
    while (*p != '\0') {
        size_t len = strcspn(p, "/");

        if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.')) {
            return vmbi_fail(err, VMB_E_ARG,
                             "%s: \"prefix\" must be names with single slashes between them, such "
                             "as \"restic/shop\"",
                             what);
        }
        p += len;
        if (p[0] == '/' && p[1] == '\0') {
            return vmbi_fail(err, VMB_E_ARG, "%s: \"prefix\" must not end with a slash", what);
        }
        p += p[0] == '/' ? 1 : 0;
    }
    return VMB_OK;
}

vmb_code vmbi_repo_settings_read(const char *text, size_t len, vmbi_repo_settings *out,
                                 vmb_error **err)
{
    vmbi_repo_settings s = {.pack_mib = 16, .memory_mib = 32, .uploads = 2};
    vmb_code rc = vmbi_options_read(text, len, what, table, VMBI_ARRAY_LEN(table), &s, &s.doc, err);

    if (rc == VMB_OK) {
        rc = check_prefix(&s, err);
    }
    if (rc == VMB_OK) {
        rc = read_compression(&s, err);
    }
    if (rc == VMB_OK) {
        rc = read_polynomial(&s, err);
    }
    if (rc == VMB_OK && s.memory_mib < 2 * s.pack_mib) {
        s.memory_mib = 2 * s.pack_mib; /* one pack for each kind of blob */
    }
    if (rc == VMB_OK) {
        rc = read_password(&s, err);
    }
    if (rc != VMB_OK) {
        vmbi_repo_settings_done(&s);
        return rc;
    }
    *out = s;
    return VMB_OK;
}

void vmbi_repo_settings_done(vmbi_repo_settings *s)
{
    if (s->secret != NULL) {
        explicit_bzero(s->secret, s->secret_len);
    }
    vmbi_free(s->secret);
    s->secret = NULL;
    vmbi_json_wipe(vmbi_json_get(s->doc, "password"));
    vmbi_options_done(table, VMBI_ARRAY_LEN(table), s, s->doc);
    s->doc = NULL;
}
