/* SPDX-License-Identifier: Apache-2.0 */
/* One operation on an S3 store, for suites that spoil the server:
 *   store_probe @SETTINGS_FILE DEADLINE_MS put|put-new|get|stat|list|remove KEY [BYTES]
 * Prints one line of JSON: {"code","ms","seen","message"}. Content is a pattern of the
 * offset, which get verifies; put-new sets VMB_PUT_IF_ABSENT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/json.h"
#include "providers/builtin.h"

enum { CHUNK = 100003 };

struct probe {
    vmb_store_provider p;
    struct vmb_job job;
    const char *key;
    int64_t bytes;
    int64_t seen; /* bytes read, or keys listed */
    bool wrong;
};

static unsigned char pattern(int64_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static vmb_code put(struct probe *b, uint32_t flags, vmb_error **err)
{
    static unsigned char block[CHUNK];
    void *op = NULL;
    int64_t at = 0;
    vmb_code code = b->p.put_begin(b->p.user, &b->job, b->key, -1, flags, &op, err);

    if (code != VMB_OK) {
        return code;
    }
    while (code == VMB_OK && at < b->bytes) {
        const size_t n = b->bytes - at < CHUNK ? (size_t)(b->bytes - at) : CHUNK;
        size_t i = 0;

        for (i = 0; i < n; i++) {
            block[i] = pattern(at + (int64_t)i);
        }
        code = b->p.put_write(b->p.user, &b->job, op, block, n, err);
        at += (int64_t)n;
    }
    if (code == VMB_OK) {
        return b->p.put_commit(b->p.user, &b->job, op, err);
    }
    b->p.put_abort(b->p.user, op);
    return code;
}

static vmb_code check(void *user, const void *data, size_t len, vmb_error **err)
{
    struct probe *b = user;
    const unsigned char *p = data;
    size_t i = 0;

    (void)err;
    for (i = 0; i < len; i++) {
        b->wrong = b->wrong || p[i] != pattern(b->seen + (int64_t)i);
    }
    b->seen += (int64_t)len;
    return VMB_OK;
}

static vmb_code count(void *user, const char *key, int64_t size, int64_t mtime, int32_t is_prefix,
                      vmb_error **err)
{
    struct probe *b = user;

    (void)key;
    (void)size;
    (void)mtime;
    (void)is_prefix;
    (void)err;
    b->seen++;
    return VMB_OK;
}

static vmb_code run(struct probe *b, const char *verb, vmb_error **err)
{
    struct vmb_sink sink = {check, b};
    struct vmb_key_sink keys = {count, b};
    int64_t mtime = 0;
    vmb_code code = VMB_E_ARG;

    if (strcmp(verb, "put") == 0) {
        return put(b, 0, err);
    }
    if (strcmp(verb, "put-new") == 0) {
        return put(b, VMB_PUT_IF_ABSENT, err);
    }
    if (strcmp(verb, "get") == 0) {
        code = b->p.get(b->p.user, &b->job, b->key, 0, -1, &sink, err);
        return code == VMB_OK && b->wrong
                   ? vmbi_fail(err, VMB_E_INTERNAL, "the bytes differ from what was written")
                   : code;
    }
    if (strcmp(verb, "stat") == 0) {
        return b->p.stat(b->p.user, &b->job, b->key, &b->seen, &mtime, err);
    }
    if (strcmp(verb, "list") == 0) {
        return b->p.list(b->p.user, &b->job, b->key, NULL, &keys, err);
    }
    if (strcmp(verb, "remove") == 0) {
        return b->p.remove(b->p.user, &b->job, b->key, err);
    }
    if (strcmp(verb, "sweep") == 0) { /* what has not changed since BYTES, ms since 1970 */
        return b->p.sweep(b->p.user, &b->job, b->key, b->bytes * VMBI_MS, &b->seen, err);
    }
    return vmbi_fail(err, code, "unknown verb");
}

static vmb_code open_store(const char *path, vmb_store_provider *out, vmb_error **err)
{
    static char text[65536];
    vmbi_json *settings = NULL;
    FILE *f = fopen(path, "re");
    vmb_code code = VMB_E_IO;

    if (!f || fread(text, 1, sizeof(text) - 1, f) == 0) {
        code = vmbi_fail(err, VMB_E_IO, "read settings");
    } else {
        code = vmbi_json_parse(text, strlen(text), "settings", &settings, err);
    }
    if (f) {
        (void)fclose(f);
    }
    if (code == VMB_OK) {
        code = vmbi_store_s3_new(settings, out, err);
    }
    vmbi_json_free(settings);
    return code;
}

int main(int argc, char **argv)
{
    struct probe b;
    vmb_error *err = NULL;
    int64_t deadline_ms = 0;
    int64_t start = 0;
    vmb_code code = VMB_OK;
    vmbi_buf message = VMBI_BUF_INIT(65536);

    memset(&b, 0, sizeof(b));
    if (argc < 5 || argv[1][0] != '@' || !vmbi_parse_i64(argv[2], strlen(argv[2]), &deadline_ms) ||
        (argc > 5 && !vmbi_parse_i64(argv[5], strlen(argv[5]), &b.bytes))) {
        fprintf(stderr, "usage: %s @SETTINGS_FILE DEADLINE_MS VERB KEY [BYTES]\n", argv[0]);
        return 2;
    }
    b.key = argv[4];
    code = open_store(argv[1] + 1, &b.p, &err);
    start = vmbi_mono_ns();
    b.job.limits.deadline_mono_ns = start + deadline_ms * VMBI_MS;
    if (code == VMB_OK) {
        code = run(&b, argv[3], &err);
    }
    vmbi_buf_add_json_string(&message, vmb_error_message(err), strlen(vmb_error_message(err)));
    printf("{\"code\":\"%s\",\"ms\":%lld,\"seen\":%lld,\"message\":%s}\n",
           code == VMB_OK ? "VMB_OK" : vmb_code_name(code),
           (long long)((vmbi_mono_ns() - start) / VMBI_MS), (long long)b.seen, message.data);
    vmbi_buf_free(&message);
    vmb_error_free(err);
    if (b.p.destroy) {
        b.p.destroy(b.p.user);
    }
    return code == VMB_OK ? 0 : 1;
}
