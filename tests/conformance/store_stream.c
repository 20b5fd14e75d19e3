/* SPDX-License-Identifier: Apache-2.0 */
/* Streams an object of unknown size into an S3 store and back, and tells time and peak memory:
 *   store_stream @SETTINGS_FILE BYTES MAX_RSS_BYTES
 * Exit 1 when the peak is above the limit or a byte differs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "codec/json.h"
#include "providers/builtin.h"

enum { CHUNK = 1024 * 1024 };

static long peak_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "re");

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "VmHWM: %ld kB", &kib) == 1) {
            break;
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return kib;
}

/* A cheap pattern that tells each chunk from the others. */
static void fill(uint64_t *block, uint64_t number)
{
    size_t i = 0;

    for (i = 0; i < CHUNK / 8; i++) {
        block[i] = (number << 32 | i) * UINT64_C(0x9e3779b97f4a7c15);
    }
}

static vmb_code upload(const vmb_store_provider *p, vmb_job *job, int64_t size, vmb_error **err)
{
    uint64_t *block = malloc(CHUNK);
    void *op = NULL;
    int64_t at = 0;
    vmb_code code = p->put_begin(p->user, job, "stream", -1, 0, &op, err);

    while (code == VMB_OK && at < size && block) {
        fill(block, (uint64_t)(at / CHUNK));
        code = p->put_write(p->user, job, op, block, CHUNK, err);
        at += CHUNK;
    }
    free(block);
    if (code == VMB_OK) {
        return p->put_commit(p->user, job, op, err);
    }
    if (op) {
        p->put_abort(p->user, op);
    }
    return code;
}

struct check {
    uint64_t block[CHUNK / 8];
    int64_t at;
    int64_t bad;
};

static vmb_code check_bytes(void *user, const void *data, size_t len, vmb_error **err)
{
    struct check *c = user;
    const char *p = data;

    (void)err;
    while (len > 0) {
        const size_t in = (size_t)(c->at % CHUNK);
        const size_t n = len < CHUNK - in ? len : CHUNK - in;

        if (in == 0) {
            fill(c->block, (uint64_t)(c->at / CHUNK));
        }
        if (memcmp((const char *)c->block + in, p, n) != 0 && c->bad < 0) {
            c->bad = c->at;
        }
        c->at += (int64_t)n;
        p += n;
        len -= n;
    }
    return VMB_OK;
}

static double seconds_since(int64_t start)
{
    return (double)(vmbi_mono_ns() - start) / 1e9;
}

int main(int argc, char **argv)
{
    static struct check c = {.bad = -1};
    struct vmb_sink sink = {check_bytes, &c};
    struct vmb_job job;
    vmb_store_provider p;
    vmb_error *err = NULL;
    vmbi_json *settings = NULL;
    char text[65536] = "";
    int64_t size = 0;
    int64_t limit = 0;
    int64_t start = 0;
    FILE *f = argc == 4 && argv[1][0] == '@' ? fopen(argv[1] + 1, "re") : NULL;
    vmb_code code = VMB_OK;

    memset(&job, 0, sizeof(job));
    memset(&p, 0, sizeof(p));
    if (!f || fread(text, 1, sizeof(text) - 1, f) == 0 ||
        !vmbi_parse_i64(argv[2], strlen(argv[2]), &size) || size % CHUNK != 0 ||
        !vmbi_parse_i64(argv[3], strlen(argv[3]), &limit)) {
        fprintf(stderr, "usage: %s @SETTINGS_FILE BYTES(whole MiB) MAX_RSS_BYTES\n", argv[0]);
        return 2;
    }
    (void)fclose(f);
    code = vmbi_json_parse(text, strlen(text), "settings", &settings, &err);
    if (code == VMB_OK) {
        code = vmbi_store_s3_new(settings, &p, &err);
    }
    start = vmbi_mono_ns();
    if (code == VMB_OK) {
        code = upload(&p, &job, size, &err);
        printf("up: %lld MiB in %.1f s, peak memory %ld KiB\n", (long long)(size / CHUNK),
               seconds_since(start), peak_kib());
    }
    start = vmbi_mono_ns();
    if (code == VMB_OK) {
        code = p.get(p.user, &job, "stream", 0, -1, &sink, &err);
        printf("down: %lld MiB in %.1f s, peak memory %ld KiB\n", (long long)(c.at / CHUNK),
               seconds_since(start), peak_kib());
    }
    if (code == VMB_OK) {
        code = p.remove(p.user, &job, "stream", &err);
    }
    if (code != VMB_OK) {
        printf("failed: %s\n", vmb_error_message(err));
    }
    vmb_error_free(err);
    vmbi_json_free(settings);
    if (p.destroy) {
        p.destroy(p.user);
    }
    return code == VMB_OK && c.bad < 0 && c.at == size && (int64_t)peak_kib() * 1024 <= limit ? 0
                                                                                              : 1;
}
