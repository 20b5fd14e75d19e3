/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/strs.h"

enum { FILE_MAX = 1024 * 1024 };

struct span {
    const char *p;
    size_t len;
};

static struct span trim(struct span s)
{
    while (s.len > 0 && vmbi_is_space(s.p[0])) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && vmbi_is_space(s.p[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* Without a comment behind white space and without quotes around. */
static struct span clean_value(struct span s)
{
    size_t i = 0;

    s = trim(s);
    for (i = 1; i < s.len; i++) {
        if ((s.p[i] == '#' || s.p[i] == ';') && vmbi_is_space(s.p[i - 1])) {
            s.len = i;
            s = trim(s);
            break;
        }
    }
    if (s.len >= 2 && (s.p[0] == '"' || s.p[0] == '\'') && s.p[s.len - 1] == s.p[0]) {
        s.p++;
        s.len -= 2;
    }
    return s;
}

static bool span_is(struct span s, const char *text)
{
    size_t i = 0;

    for (i = 0; i < s.len && text[i] != '\0'; i++) {
        if (vmbi_lower(s.p[i]) != vmbi_lower(text[i])) {
            return false;
        }
    }
    return i == s.len && text[i] == '\0';
}

/* "[name]" and "[profile name]" name the same profile; names keep their case. */
static bool section_is(struct span s, const char *profile)
{
    s = trim(s);
    if (s.len > 8 && memcmp(s.p, "profile", 7) == 0 && vmbi_is_space(s.p[7])) {
        s.p += 8;
        s.len -= 8;
        s = trim(s);
    }
    return s.len == strlen(profile) && memcmp(s.p, profile, s.len) == 0;
}

static char **field_of(vmbi_s3_credentials *c, struct span key)
{
    const struct {
        const char *name;
        char **field;
    } fields[] = {{"aws_access_key_id", &c->access_key},
                  {"aws_secret_access_key", &c->secret_key},
                  {"aws_session_token", &c->session_token},
                  {"region", &c->region},
                  {"role_arn", &c->role_arn},
                  {"role_session_name", &c->role_session_name},
                  {"web_identity_token_file", &c->token_file}};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(fields); i++) {
        if (span_is(key, fields[i].name)) {
            return fields[i].field;
        }
    }
    return NULL; /* settings of other programs */
}

static void wipe(char **s)
{
    if (*s) {
        explicit_bzero(*s, strlen(*s));
    }
    vmbi_free(*s);
    *s = NULL;
}

static vmb_code set_field(char **field, struct span value, vmb_error **err)
{
    wipe(field);
    if (value.len == 0) {
        return VMB_OK;
    }
    *field = vmbi_strndup(value.p, value.len);
    return *field ? VMB_OK : vmbi_fail_nomem(err);
}

struct parser {
    const char *profile;
    bool in_any;
    bool in_profile;
    bool found;
    bool nested; /* the last setting had no value: indented lines belong to it */
    size_t line;
    vmbi_s3_credentials c;
};

static vmb_code parse_setting(struct parser *p, struct span line, bool indented, vmb_error **err)
{
    const char *eq = memchr(line.p, '=', line.len);
    struct span key = line;
    struct span value = {NULL, 0};
    char **field = NULL;

    if (indented && p->nested) {
        return VMB_OK;
    }
    if (!eq) {
        return vmbi_fail(err, VMB_E_PARSE,
                         "credentials: line %zu: neither [profile] nor key = "
                         "value",
                         p->line);
    }
    if (!p->in_any) {
        return vmbi_fail(err, VMB_E_PARSE,
                         "credentials: line %zu: a setting before the first "
                         "[profile]; write [default] above it",
                         p->line);
    }
    key.len = (size_t)(eq - line.p);
    value.p = eq + 1;
    value.len = line.len - key.len - 1;
    value = clean_value(value);
    p->nested = value.len == 0;
    field = p->in_profile ? field_of(&p->c, trim(key)) : NULL;
    return field ? set_field(field, value, err) : VMB_OK;
}

static vmb_code parse_line(struct parser *p, struct span line, vmb_error **err)
{
    const bool indented = line.len > 0 && vmbi_is_space(line.p[0]);

    p->line++;
    line = trim(line);
    if (line.len == 0 || line.p[0] == '#' || line.p[0] == ';') {
        return VMB_OK;
    }
    if (line.p[0] == '[') {
        const char *end = memchr(line.p, ']', line.len);
        struct span name = {line.p + 1, end ? (size_t)(end - line.p) - 1 : 0};

        if (!end) {
            return vmbi_fail(err, VMB_E_PARSE, "credentials: line %zu: \"]\" is missing", p->line);
        }
        p->in_any = true;
        p->nested = false;
        p->in_profile = section_is(name, p->profile);
        p->found = p->found || p->in_profile;
        return VMB_OK;
    }
    return parse_setting(p, line, indented, err);
}

static vmb_code check_complete(const struct parser *p, vmb_error **err)
{
    const vmbi_s3_credentials *c = &p->c;

    if (!p->found) {
        return vmbi_fail(err, VMB_E_NOT_FOUND, "credentials: no profile \"%s\"", p->profile);
    }
    if (c->access_key && c->secret_key) {
        return VMB_OK;
    }
    if (c->role_arn && c->token_file) {
        return VMB_OK;
    }
    if (c->role_arn) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "credentials: profile \"%s\": role_arn without "
                         "web_identity_token_file",
                         p->profile);
    }
    return vmbi_fail(err, VMB_E_INVALID, "credentials: profile \"%s\": %s is missing", p->profile,
                     c->access_key ? "aws_secret_access_key" : "aws_access_key_id");
}

vmb_code vmbi_s3_credentials_parse(const char *text, size_t len, const char *profile,
                                   vmbi_s3_credentials *out, vmb_error **err)
{
    struct parser p;
    const char *end = text + len;
    vmb_code code = VMB_OK;

    memset(&p, 0, sizeof(p));
    p.profile = profile;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
    }
    while (code == VMB_OK && text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const struct span line = {text, (size_t)((nl ? nl : end) - text)};

        code = parse_line(&p, line, err);
        text = nl ? nl + 1 : end;
    }
    if (code == VMB_OK) {
        code = check_complete(&p, err);
    }
    if (code == VMB_OK) {
        *out = p.c;
    } else {
        vmbi_s3_credentials_free(&p.c);
    }
    return code;
}

static vmb_code read_file(const char *path, vmbi_buf *out, vmb_error **err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[4096];
    ssize_t n = 1;
    vmb_code code = VMB_OK;

    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "credentials: open %s", path);
    }
    while (n > 0 && out->status == VMB_OK) {
        n = read(fd, chunk, sizeof(chunk));
        if (n > 0) {
            vmbi_buf_add(out, chunk, (size_t)n);
        }
    }
    if (n < 0) {
        code = vmbi_fail_errno(err, errno, "credentials: read %s", path);
    }
    (void)close(fd);
    explicit_bzero(chunk, sizeof(chunk));
    return code == VMB_OK ? vmbi_buf_check(out, err, "credentials") : code;
}

static vmb_code parse_file(const char *path, const char *profile, vmbi_s3_credentials *out,
                           vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(FILE_MAX);
    vmb_code code = read_file(path, &text, err);

    if (code == VMB_OK) {
        code = vmbi_s3_credentials_parse(text.data ? text.data : "", text.len, profile, out, err);
    }
    if (text.data) {
        explicit_bzero(text.data, text.len);
    }
    vmbi_buf_free(&text);
    return code;
}

static vmb_code set_text(char **field, const char *value, vmb_error **err)
{
    if (!value || value[0] == '\0') {
        return VMB_OK;
    }
    *field = vmbi_strdup(value);
    return *field ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code copy_all(const char *const *from, vmbi_s3_credentials *out, vmb_error **err)
{
    char **fields[] = {&out->access_key, &out->secret_key,        &out->session_token, &out->region,
                       &out->role_arn,   &out->role_session_name, &out->token_file};
    size_t i = 0;
    vmb_code code = VMB_OK;

    memset(out, 0, sizeof(*out));
    for (i = 0; i < VMBI_ARRAY_LEN(fields) && code == VMB_OK; i++) {
        code = set_text(fields[i], from[i], err);
    }
    if (code != VMB_OK) {
        vmbi_s3_credentials_free(out);
    }
    return code;
}

vmb_code vmbi_s3_credentials_copy(const vmbi_s3_credentials *c, vmbi_s3_credentials *out,
                                  vmb_error **err)
{
    const char *const from[] = {c->access_key, c->secret_key,        c->session_token, c->region,
                                c->role_arn,   c->role_session_name, c->token_file};
    vmb_code code = copy_all(from, out, err);

    if (code == VMB_OK) {
        out->expires_unix_ns = c->expires_unix_ns;
    }
    return code;
}

static const char *env(const char *name)
{
    const char *v = secure_getenv(name);

    return v && v[0] != '\0' ? v : NULL;
}

static const char *env_region(void)
{
    const char *region = env("AWS_REGION");

    return region ? region : env("AWS_DEFAULT_REGION");
}

static vmb_code from_home(const char *profile, vmbi_s3_credentials *out, vmb_error **err)
{
    const char *home = env("HOME");
    vmbi_buf path = VMBI_BUF_INIT(4096);
    vmb_code code = VMB_OK;

    vmbi_buf_addf(&path, "%s/.aws/credentials", home ? home : "");
    code = vmbi_buf_check(&path, err, "credentials");
    if (code == VMB_OK && (!home || access(path.data, R_OK) != 0)) {
        code = vmbi_fail(err, VMB_E_DENIED,
                         "credentials: none given, and none in AWS_ACCESS_KEY_ID, "
                         "AWS_WEB_IDENTITY_TOKEN_FILE, AWS_SHARED_CREDENTIALS_FILE or "
                         "~/.aws/credentials");
    } else if (code == VMB_OK) {
        code = parse_file(path.data, profile, out, err);
    }
    vmbi_buf_free(&path);
    return code;
}

vmb_code vmbi_s3_credentials_load(const char *text, const char *file, const char *profile,
                                  vmbi_s3_credentials *out, vmb_error **err)
{
    const char *const keys[] = {env("AWS_ACCESS_KEY_ID"),
                                env("AWS_SECRET_ACCESS_KEY"),
                                env("AWS_SESSION_TOKEN"),
                                env_region(),
                                NULL,
                                NULL,
                                NULL};
    const char *const web[] = {NULL,
                               NULL,
                               NULL,
                               env_region(),
                               env("AWS_ROLE_ARN"),
                               env("AWS_ROLE_SESSION_NAME"),
                               env("AWS_WEB_IDENTITY_TOKEN_FILE")};

    if (text) {
        return vmbi_s3_credentials_parse(text, strlen(text), profile ? profile : "default", out,
                                         err);
    }
    if (file) {
        return parse_file(file, profile ? profile : "default", out, err);
    }
    /* A profile that is named must be found; keys lying in the environment are not it. */
    if (!profile && keys[0] && keys[1]) {
        return copy_all(keys, out, err);
    }
    if (!profile && web[4] && web[6]) {
        return copy_all(web, out, err);
    }
    if (!profile) {
        profile = env("AWS_PROFILE") ? env("AWS_PROFILE") : "default";
    }
    if (env("AWS_SHARED_CREDENTIALS_FILE")) {
        return parse_file(env("AWS_SHARED_CREDENTIALS_FILE"), profile, out, err);
    }
    return from_home(profile, out, err);
}

void vmbi_s3_credentials_free(vmbi_s3_credentials *c)
{
    wipe(&c->access_key);
    wipe(&c->secret_key);
    wipe(&c->session_token);
    wipe(&c->region);
    wipe(&c->role_arn);
    wipe(&c->role_session_name);
    wipe(&c->token_file);
    memset(c, 0, sizeof(*c));
}
