/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/digest.h"

enum { CUSTOMER_KEY_SIZE = 32 };
#define MIB (INT64_C(1024) * 1024)

static const char *const known_settings[] = {"bucket",   "config",   "caCert",        "credentials",
                                             "partSize", "maxParts", "partsInFlight", "maxTries"};
/* velero-plugin-for-aws, object_store.go: the keys its Init accepts. */
static const char *const known_config[] = {"region",
                                           "s3Url",
                                           "publicUrl",
                                           "s3ForcePathStyle",
                                           "insecureSkipTLSVerify",
                                           "caCert",
                                           "bucket",
                                           "prefix",
                                           "credentialsFile",
                                           "profile",
                                           "enableSharedConfig",
                                           "serverSideEncryption",
                                           "kmsKeyId",
                                           "customerKeyEncryptionFile",
                                           "customerKeyEncryptionSecret",
                                           "tagging",
                                           "checksumAlgorithm",
                                           "signatureVersion"};

static vmb_code refuse_unknown(const vmbi_json *obj, const char *what, const char *const *known,
                               size_t n, bool strings_only, vmb_error **err)
{
    void *it = NULL;
    size_t i = 0;

    for (it = vmbi_json_iter(obj); it; it = vmbi_json_iter_next(obj, it)) {
        const char *key = vmbi_json_iter_key(it);
        vmbi_buf list = VMBI_BUF_INIT(2048);

        for (i = 0; i < n && strcmp(known[i], key) != 0; i++) {
        }
        if (i < n && strings_only && !vmbi_json_is_string(vmbi_json_iter_value(it))) {
            return vmbi_fail(err, VMB_E_ARG, "s3 store: %s \"%s\" must be a string", what, key);
        }
        if (i < n) {
            continue;
        }
        for (i = 0; i < n; i++) {
            vmbi_buf_addf(&list, "%s%s", i > 0 ? ", " : "", known[i]);
        }
        (void)vmbi_fail(err, VMB_E_ARG, "s3 store: unknown %s \"%s\" (known: %s)", what, key,
                        list.data ? list.data : "");
        vmbi_buf_free(&list);
        return VMB_E_ARG;
    }
    return VMB_OK;
}

/* A non-empty string of the config, copied; NULL when absent or empty. */
static vmb_code take(const vmbi_json *config, const char *key, char **out, vmb_error **err)
{
    const char *s = vmbi_json_get_str(config, key);

    if (!s || s[0] == '\0') {
        return VMB_OK;
    }
    if (s[strcspn(s, "\r\n")] != '\0') {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: config key \"%s\" holds a line break", key);
    }
    *out = vmbi_strdup(s);
    return *out ? VMB_OK : vmbi_fail_nomem(err);
}

static vmb_code take_bool(const vmbi_json *config, const char *key, bool *out, bool *given,
                          vmb_error **err)
{
    const char *s = vmbi_json_get_str(config, key);

    if (!s || s[0] == '\0') {
        return VMB_OK;
    }
    if (!vmbi_parse_bool(s, out)) {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: config key \"%s\" must be true or false", key);
    }
    if (given) {
        *given = true;
    }
    return VMB_OK;
}

/* Splits "https://host:443/path/" into "https://host" and "/path". */
static vmb_code split_url(const char *key, const char *url, char **endpoint, char **base_path,
                          vmb_error **err)
{
    const char *host = strstr(url, "://");
    const bool tls = vmbi_starts_with(url, "https://");
    size_t host_len = 0;
    size_t path_len = 0;

    if (!host || !(tls || vmbi_starts_with(url, "http://"))) {
        return vmbi_fail(err, VMB_E_ARG,
                         "s3 store: config key \"%s\" must start with http:// or "
                         "https://",
                         key);
    }
    host += 3;
    host_len = strcspn(host, "/?#");
    path_len = strlen(host + host_len);
    if (host_len == 0 || memchr(host, '@', host_len) || strpbrk(host + host_len, "?# ")) {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: config key \"%s\" is no plain URL", key);
    }
    while (path_len > 0 && host[host_len + path_len - 1] == '/') {
        path_len--;
    }
    *base_path = vmbi_strndup(host + host_len, path_len);
    if (host_len > 4 && tls && memcmp(host + host_len - 4, ":443", 4) == 0) {
        host_len -= 4;
    } else if (host_len > 3 && !tls && memcmp(host + host_len - 3, ":80", 3) == 0) {
        host_len -= 3;
    }
    *endpoint = vmbi_strndup(url, (size_t)(host - url) + host_len);
    return *endpoint && *base_path ? VMB_OK : vmbi_fail_nomem(err);
}

static bool host_is_address(const char *endpoint)
{
    const char *host = strstr(endpoint, "://") + 3;
    const size_t len = strcspn(host, ":");
    size_t i = 0;

    if (host[0] == '[' || (len == 9 && memcmp(host, "localhost", 9) == 0)) {
        return true;
    }
    for (i = 0; i < len; i++) {
        if (!vmbi_is_digit(host[i]) && host[i] != '.') {
            return false;
        }
    }
    return true;
}

/* Can the bucket stand in front of the host? */
static bool bucket_is_host_label(const char *bucket, bool tls)
{
    const char *p = NULL;

    for (p = bucket; *p; p++) {
        const bool lower = (*p >= 'a' && *p <= 'z') || vmbi_is_digit(*p) || *p == '-';

        if (!lower && !(*p == '.' && !tls)) {
            return false; /* a certificate's wildcard covers one label only */
        }
    }
    return p - bucket <= 63;
}

static vmb_code parse_addresses(const vmbi_json *config, vmbi_s3_config *c, vmb_error **err)
{
    const char *s3_url = vmbi_json_get_str(config, "s3Url");
    const char *public_url = vmbi_json_get_str(config, "publicUrl");
    bool forced = false;
    bool given = false;
    vmb_code code = take_bool(config, "s3ForcePathStyle", &forced, &given, err);

    if (code == VMB_OK && s3_url && s3_url[0] != '\0') {
        code = split_url("s3Url", s3_url, &c->endpoint, &c->base_path, err);
    } else if (code == VMB_OK) {
        c->base_path = vmbi_strdup("");
        code = c->base_path ? VMB_OK : vmbi_fail_nomem(err);
    }
    if (code == VMB_OK && public_url && public_url[0] != '\0') {
        code = split_url("publicUrl", public_url, &c->public_endpoint, &c->public_base_path, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    /* Other servers than AWS are asked by path unless told otherwise: few have wildcard names. */
    c->path_style = given ? forced : c->endpoint != NULL;
    if (!c->path_style && c->endpoint && host_is_address(c->endpoint)) {
        c->path_style = true;
    }
    if (!bucket_is_host_label(c->bucket,
                              !c->endpoint || vmbi_starts_with(c->endpoint, "https://"))) {
        c->path_style = true;
    }
    return VMB_OK;
}

static vmb_code parse_bucket(const vmbi_json *settings, const vmbi_json *config, vmbi_s3_config *c,
                             vmb_error **err)
{
    const char *bucket = vmbi_json_get_str(settings, "bucket");

    if (!bucket || bucket[0] == '\0') {
        bucket = vmbi_json_get_str(config, "bucket");
    }
    if (!bucket || bucket[0] == '\0') {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: bucket is missing");
    }
    if (vmbi_starts_with(bucket, "arn:")) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "s3 store: bucket given as an ARN");
    }
    if (strlen(bucket) > 255 || bucket[strcspn(bucket, "/?#% \r\n")] != '\0') {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: bucket \"%.64s\": not a bucket name", bucket);
    }
    c->bucket = vmbi_strdup(bucket);
    return c->bucket ? VMB_OK : vmbi_fail_nomem(err);
}

/* PEM text as it is, or base64 of it as the resource has it. */
static vmb_code parse_ca(const char *text, char **out, vmb_error **err)
{
    uint8_t *pem = NULL;
    size_t len = 0;
    vmb_code code = VMB_OK;

    if (!text || text[0] == '\0') {
        return VMB_OK;
    }
    if (strstr(text, "-----BEGIN ")) {
        *out = vmbi_strdup(text);
        return *out ? VMB_OK : vmbi_fail_nomem(err);
    }
    code = vmbi_unbase64(text, strlen(text), &pem, &len, err);
    if (code == VMB_OK) {
        char *copy = vmbi_strndup((const char *)pem, len);

        if (!copy) {
            code = vmbi_fail_nomem(err);
        } else if (!strstr(copy, "-----BEGIN ")) {
            code = vmbi_fail(err, VMB_E_ARG, "no PEM certificate");
            vmbi_free(copy);
        } else {
            *out = copy;
        }
    }
    vmbi_free(pem);
    return code == VMB_OK ? code : vmbi_wrap(err, code, "s3 store: caCert");
}

static vmb_code read_customer_key(const char *path, uint8_t key[CUSTOMER_KEY_SIZE], vmb_error **err)
{
    uint8_t buf[CUSTOMER_KEY_SIZE + 1];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t got = 0;
    ssize_t n = 1;

    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "s3 store: customerKeyEncryptionFile %s", path);
    }
    while (n > 0 && got < sizeof(buf)) {
        n = read(fd, buf + got, sizeof(buf) - got);
        got += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    if (n >= 0 && got == CUSTOMER_KEY_SIZE) {
        memcpy(key, buf, CUSTOMER_KEY_SIZE);
    }
    explicit_bzero(buf, sizeof(buf));
    return n >= 0 && got == CUSTOMER_KEY_SIZE
               ? VMB_OK
               : vmbi_fail(err, VMB_E_ARG,
                           "s3 store: customerKeyEncryptionFile %s: not exactly 32 bytes", path);
}

static vmb_code parse_customer_key(const char *path, vmbi_s3_config *c, vmb_error **err)
{
    uint8_t key[CUSTOMER_KEY_SIZE];
    vmb_code code = read_customer_key(path, key, err);

    if (code != VMB_OK) {
        return code;
    }
    c->sse_c_key = vmbi_alloc(vmbi_base64_size(sizeof(key)));
    c->sse_c_key_md5 = vmbi_alloc(VMBI_S3_CHECKSUM_SIZE);
    if (c->sse_c_key && c->sse_c_key_md5) {
        vmbi_base64(key, sizeof(key), c->sse_c_key);
        vmbi_s3_content_md5(key, sizeof(key), c->sse_c_key_md5);
    } else {
        code = vmbi_fail_nomem(err);
    }
    explicit_bzero(key, sizeof(key));
    return code;
}

static vmb_code parse_encryption(const vmbi_json *config, vmbi_s3_config *c, vmb_error **err)
{
    const char *file = vmbi_json_get_str(config, "customerKeyEncryptionFile");
    const char *secret = vmbi_json_get_str(config, "customerKeyEncryptionSecret");
    vmb_code code = take(config, "serverSideEncryption", &c->sse, err);
    int ways = 0;

    if (code == VMB_OK) {
        code = take(config, "kmsKeyId", &c->kms_key_id, err);
    }
    if (code != VMB_OK) {
        return code;
    }
    ways = (c->kms_key_id ? 1 : 0) + (file && file[0] ? 1 : 0) + (secret && secret[0] ? 1 : 0);
    if (ways > 1) {
        return vmbi_fail(err, VMB_E_ARG,
                         "s3 store: at most one of kmsKeyId, customerKeyEncryptionFile and "
                         "customerKeyEncryptionSecret");
    }
    if (secret && secret[0]) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED,
                         "s3 store: customerKeyEncryptionSecret: write the key to a file and name "
                         "it in customerKeyEncryptionFile");
    }
    if (c->kms_key_id) {
        vmbi_free(c->sse);
        c->sse = vmbi_strdup("aws:kms");
        return c->sse ? VMB_OK : vmbi_fail_nomem(err);
    }
    return file && file[0] ? parse_customer_key(file, c, err) : VMB_OK;
}

/* Whole number of the settings, as a number or a string. */
static vmb_code take_number(const vmbi_json *settings, const char *key, int64_t low, int64_t high,
                            int64_t *out, vmb_error **err)
{
    const vmbi_json *v = vmbi_json_get(settings, key);
    const char *s = vmbi_json_str(v);
    int64_t n = vmbi_json_int(v, -1);

    if (!v) {
        return VMB_OK;
    }
    if (s && !vmbi_parse_i64(s, strlen(s), &n)) {
        n = -1;
    }
    if (n < low || n > high) {
        return vmbi_fail(err, VMB_E_ARG, "s3 store: %s must be between %lld and %lld", key,
                         (long long)low, (long long)high);
    }
    *out = n;
    return VMB_OK;
}

static vmb_code parse_sizes(const vmbi_json *settings, vmbi_s3_config *c, vmb_error **err)
{
    int64_t in_flight = 3;
    int64_t max_parts = 10000;
    int64_t max_tries = 0;
    vmb_code code = VMB_OK;

    c->part_size = 8 * MIB;
    code = take_number(settings, "partSize", 5 * MIB, 5 * 1024 * MIB, &c->part_size, err);
    if (code == VMB_OK) {
        code = take_number(settings, "partsInFlight", 1, 64, &in_flight, err);
    }
    if (code == VMB_OK) {
        code = take_number(settings, "maxParts", 10, 10000, &max_parts, err);
    }
    if (code == VMB_OK) {
        code = take_number(settings, "maxTries", 1, 100, &max_tries, err);
    }
    c->parts_in_flight = (int)in_flight;
    c->max_parts = (int)max_parts;
    c->max_tries = (int)max_tries;
    return code;
}

static vmb_code parse_checksum(const vmbi_json *config, vmbi_s3_config *c, vmb_error **err)
{
    const char *name = vmbi_json_get_str(config, "checksumAlgorithm");

    if (name && !vmbi_s3_checksum_parse(name, &c->checksum)) {
        return vmbi_fail(err, VMB_E_ARG,
                         "s3 store: checksumAlgorithm \"%s\" is none of CRC32, CRC32C, SHA1, "
                         "SHA256, CRC64NVME and \"\"",
                         name);
    }
    return VMB_OK;
}

static vmb_code parse_rest(const vmbi_json *settings, const vmbi_json *config, vmbi_s3_config *c,
                           vmb_error **err)
{
    const char *ca = vmbi_json_get_str(settings, "caCert");
    vmb_code code = take(config, "region", &c->region, err);

    if (code == VMB_OK) {
        code = take(config, "profile", &c->profile, err);
    }
    if (code == VMB_OK) {
        code = take(config, "credentialsFile", &c->credentials_file, err);
    }
    if (code == VMB_OK) {
        code = take(config, "tagging", &c->tagging, err);
    }
    if (code == VMB_OK) {
        code = take_bool(config, "insecureSkipTLSVerify", &c->insecure_skip_verify, NULL, err);
    }
    if (code == VMB_OK) {
        code = parse_checksum(config, c, err);
    }
    if (code == VMB_OK) {
        code = parse_ca(ca && ca[0] ? ca : vmbi_json_get_str(config, "caCert"), &c->ca_pem, err);
    }
    if (code == VMB_OK && vmbi_json_get_str(settings, "credentials")) {
        c->credentials = vmbi_strdup(vmbi_json_get_str(settings, "credentials"));
        code = c->credentials ? VMB_OK : vmbi_fail_nomem(err);
    }
    return code;
}

vmb_code vmbi_s3_config_parse(const vmbi_json *settings, vmbi_s3_config *out, vmb_error **err)
{
    const vmbi_json *config = vmbi_json_get(settings, "config");
    vmbi_s3_config c;
    vmb_code code = VMB_OK;

    memset(&c, 0, sizeof(c));
    code = refuse_unknown(settings, "setting", known_settings, VMBI_ARRAY_LEN(known_settings),
                          false, err);
    if (code == VMB_OK) {
        code = refuse_unknown(config, "config key", known_config, VMBI_ARRAY_LEN(known_config),
                              true, err);
    }
    if (code == VMB_OK) {
        code = parse_bucket(settings, config, &c, err);
    }
    if (code == VMB_OK) {
        code = parse_addresses(config, &c, err);
    }
    if (code == VMB_OK) {
        code = parse_encryption(config, &c, err);
    }
    if (code == VMB_OK) {
        code = parse_sizes(settings, &c, err);
    }
    if (code == VMB_OK) {
        code = parse_rest(settings, config, &c, err);
    }
    if (code == VMB_OK) {
        *out = c;
    } else {
        vmbi_s3_config_free(&c);
    }
    return code;
}

static void wipe(char *s)
{
    if (s) {
        explicit_bzero(s, strlen(s));
    }
    vmbi_free(s);
}

void vmbi_s3_config_free(vmbi_s3_config *c)
{
    vmbi_free(c->bucket);
    vmbi_free(c->region);
    vmbi_free(c->endpoint);
    vmbi_free(c->base_path);
    vmbi_free(c->public_endpoint);
    vmbi_free(c->public_base_path);
    vmbi_free(c->ca_pem);
    vmbi_free(c->profile);
    wipe(c->credentials);
    vmbi_free(c->credentials_file);
    vmbi_free(c->sse);
    vmbi_free(c->kms_key_id);
    wipe(c->sse_c_key);
    vmbi_free(c->sse_c_key_md5);
    vmbi_free(c->tagging);
    memset(c, 0, sizeof(*c));
}
