/* SPDX-License-Identifier: Apache-2.0 */
#include "store_suite.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/job.h"
#include "base/strs.h"
#include "net/http.h"
#include "store_pattern.h"

enum { MIB = 1024 * 1024, SMALL_READ_MAX = 4 * MIB };

struct suite {
    const vmb_store_provider *p;
    const store_suite_options *o;
    store_suite_counts *counts;
    struct vmb_job job;  /* without limits */
    char why[2048];      /* the first failure of the current test */
    bool skipped;
    char key[2][1600];   /* see K() */
    int key_turn;
};

/* ---- helpers -------------------------------------------------------------------------------- */

static void failed(struct suite *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void failed(struct suite *s, const char *fmt, ...)
{
    va_list ap;

    if (s->why[0] != '\0') {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
    va_end(ap);
}

#define CHECK(s, cond)                                          \
    do {                                                        \
        if (!(cond)) {                                          \
            failed((s), "line %d: %s", __LINE__, #cond);        \
            return;                                             \
        }                                                       \
    } while (0)

#define CHECK_CODE(s, call, expected)                                                       \
    do {                                                                                    \
        vmb_error *check_err = NULL;                                                        \
        vmb_error **err = &check_err;                                                       \
        const vmb_code check_code = (call);                                                 \
        if (check_code != (expected)) {                                                     \
            failed((s), "line %d: %s gave %s (%s), not %s", __LINE__, #call,                \
                   vmb_code_name(check_code), vmb_error_message(check_err),                 \
                   vmb_code_name(expected));                                                \
        } else if (check_code != VMB_OK &&                                                  \
                   (!check_err || vmb_error_code(check_err) != check_code ||                \
                    vmb_error_message(check_err)[0] == '\0')) {                             \
            failed((s), "line %d: %s: failure without a message", __LINE__, #call);         \
        }                                                                                   \
        vmb_error_free(check_err);                                                          \
        if ((s)->why[0] != '\0') {                                                          \
            return;                                                                         \
        }                                                                                   \
    } while (0)

/* Full key; two results live at a time. */
static const char *K(struct suite *s, const char *name)
{
    char *out = s->key[s->key_turn ^= 1];

    (void)snprintf(out, sizeof(s->key[0]), "%s%s", s->o->prefix, name);
    return out;
}

/* Writes size bytes of a pattern in pieces of chunk bytes; commit = false stops before it. */
static vmb_code put_part(struct suite *s, vmb_job *job, const char *key, uint32_t seed,
                         int64_t size, size_t chunk, int64_t hint, uint32_t flags, void **op,
                         vmb_error **err)
{
    uint8_t *buf = malloc(chunk);
    int64_t at = 0;
    vmb_code code = buf ? s->p->put_begin(s->p->user, job, key, hint, flags, op, err)
                        : vmbi_fail_nomem(err);
    bool begun = code == VMB_OK;

    while (code == VMB_OK && at < size) {
        const size_t n = size - at < (int64_t)chunk ? (size_t)(size - at) : chunk;

        fill(buf, n, seed, at);
        code = s->p->put_write(s->p->user, job, *op, buf, n, err);
        at += (int64_t)n;
    }
    free(buf);
    if (code != VMB_OK && begun) {
        s->p->put_abort(s->p->user, *op);
        *op = NULL;
    }
    return code;
}

static vmb_code put_full(struct suite *s, const char *key, uint32_t seed, int64_t size,
                         size_t chunk, int64_t hint, uint32_t flags, vmb_error **err)
{
    void *op = NULL;
    vmb_code code = put_part(s, &s->job, key, seed, size, chunk, hint, flags, &op, err);

    return code == VMB_OK ? s->p->put_commit(s->p->user, &s->job, op, err) : code;
}

static vmb_code put(struct suite *s, const char *key, uint32_t seed, int64_t size,
                    vmb_error **err)
{
    return put_full(s, key, seed, size, 70001, -1, 0, err);
}

/* Reads a range and compares it with the pattern. */
static vmb_code get_range(struct suite *s, const char *key, uint32_t seed, int64_t offset,
                          int64_t length, int64_t expected, vmb_error **err)
{
    struct verify v = {.seed = seed, .at = offset, .bad = -1};
    struct vmb_sink sink = {verify_write, &v};
    vmb_code code = s->p->get(s->p->user, &s->job, key, offset, length, &sink, err);

    if (code != VMB_OK) {
        return code;
    }
    if (v.bad >= 0) {
        return vmbi_fail(err, VMB_E_INVALID, "wrong byte at %lld", (long long)v.bad);
    }
    if (v.total != expected) {
        return vmbi_fail(err, VMB_E_INVALID, "%lld bytes, not %lld", (long long)v.total,
                         (long long)expected);
    }
    return VMB_OK;
}

static vmb_code get(struct suite *s, const char *key, uint32_t seed, int64_t size,
                    vmb_error **err)
{
    return get_range(s, key, seed, 0, -1, size, err);
}

static vmb_code stat_size(struct suite *s, const char *key, int64_t *size, vmb_error **err)
{
    int64_t mtime = 0;

    return s->p->stat(s->p->user, &s->job, key, size, &mtime, err);
}

static vmb_code rm(struct suite *s, const char *key, vmb_error **err)
{
    return s->p->remove(s->p->user, &s->job, key, err);
}

struct listing {
    vmbi_strs keys; /* prefixes get a '*' in front */
    int64_t last_size;
    int64_t last_mtime;
    size_t fail_at; /* the push of this number fails; 0: none */
};

static vmb_code list_push(void *user, const char *key, int64_t size, int64_t mtime,
                          int32_t is_prefix, vmb_error **err)
{
    struct listing *l = user;
    char marked[2048];

    if (l->fail_at != 0 && l->keys.n + 1 == l->fail_at) {
        return vmbi_fail(err, VMB_E_FULL, "the test's sink has enough");
    }
    (void)snprintf(marked, sizeof(marked), "%s%s", is_prefix ? "*" : "", key);
    l->last_size = size;
    l->last_mtime = mtime;
    return vmbi_strs_add(&l->keys, marked, err);
}

static vmb_code list(struct suite *s, const char *prefix, const char *delimiter,
                     struct listing *l, vmb_error **err)
{
    struct vmb_key_sink sink = {list_push, l};

    return s->p->list(s->p->user, &s->job, prefix, delimiter, &sink, err);
}

/* Lists and compares with a NULL-terminated list of names below the prefix. */
static void expect_list(struct suite *s, const char *prefix, const char *delimiter,
                        const char *const *expected)
{
    struct listing l = {{NULL, 0, 0}, 0, 0, 0};
    vmb_error *err = NULL;
    vmb_code code = list(s, K(s, prefix), delimiter, &l, &err);
    size_t i = 0;

    if (code != VMB_OK) {
        failed(s, "list %s: %s", prefix, vmb_error_message(err));
    }
    for (i = 0; code == VMB_OK && (i < l.keys.n || expected[i]); i++) {
        char want[2048] = "(end)";

        if (expected[i]) {
            const bool star = expected[i][0] == '*';

            (void)snprintf(want, sizeof(want), "%s%s%s", star ? "*" : "", s->o->prefix,
                           expected[i] + (star ? 1 : 0));
        }
        if (i >= l.keys.n || !expected[i] || strcmp(l.keys.v[i], want) != 0) {
            failed(s, "list \"%s\" entry %zu is %s, not %s", prefix, i,
                   i < l.keys.n ? l.keys.v[i] : "(end)", want);
            break;
        }
    }
    vmb_error_free(err);
    vmbi_strs_free(&l.keys);
}

static int64_t big_bytes(const struct suite *s)
{
    return s->o->big_bytes > 0 ? s->o->big_bytes : INT64_C(21) * MIB + 123;
}

/* ---- tests: writing and reading ---------------------------------------------------------------- */

static void object_small_reads_back(struct suite *s)
{
    int64_t size = 0;

    CHECK_CODE(s, put(s, K(s, "small"), 1, 1000, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "small"), 1, 1000, err), VMB_OK);
    CHECK_CODE(s, stat_size(s, K(s, "small"), &size, err), VMB_OK);
    CHECK(s, size == 1000);
    CHECK_CODE(s, rm(s, K(s, "small"), err), VMB_OK);
}

static void object_empty_reads_back(struct suite *s)
{
    int64_t size = -1;

    CHECK_CODE(s, put(s, K(s, "empty"), 1, 0, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "empty"), 1, 0, err), VMB_OK);
    CHECK_CODE(s, get_range(s, K(s, "empty"), 1, 0, 0, 0, err), VMB_OK);
    CHECK_CODE(s, get_range(s, K(s, "empty"), 1, 0, 1, 0, err), VMB_E_ARG);
    CHECK_CODE(s, stat_size(s, K(s, "empty"), &size, err), VMB_OK);
    CHECK(s, size == 0);
    CHECK_CODE(s, rm(s, K(s, "empty"), err), VMB_OK);
}

static void object_large_of_unknown_size_reads_back(struct suite *s)
{
    const int64_t size = big_bytes(s);
    int64_t got = 0;

    CHECK_CODE(s, put_full(s, K(s, "large"), 2, size, 1000003, -1, 0, err), VMB_OK);
    CHECK_CODE(s, stat_size(s, K(s, "large"), &got, err), VMB_OK);
    CHECK(s, got == size);
    CHECK_CODE(s, get(s, K(s, "large"), 2, size, err), VMB_OK);
    CHECK_CODE(s, get_range(s, K(s, "large"), 2, 8 * MIB - 5, 10, 10, err), VMB_OK);
    CHECK_CODE(s, get_range(s, K(s, "large"), 2, size - 7, -1, 7, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "large"), err), VMB_OK);
}

static void object_large_of_known_size_reads_back(struct suite *s)
{
    const int64_t size = big_bytes(s);

    CHECK_CODE(s, put_full(s, K(s, "hinted"), 3, size, 3 * MIB, size, 0, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "hinted"), 3, size, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "hinted"), err), VMB_OK);
}

static void object_around_a_part_border_reads_back(struct suite *s)
{
    static const int64_t sizes[] = {5 * MIB, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        CHECK_CODE(s, put_full(s, K(s, "border"), (uint32_t)i, sizes[i], MIB + 17, -1, 0, err),
                   VMB_OK);
        CHECK_CODE(s, get(s, K(s, "border"), (uint32_t)i, sizes[i], err), VMB_OK);
    }
    CHECK_CODE(s, rm(s, K(s, "border"), err), VMB_OK);
}

static void object_with_a_wrong_size_hint_reads_back(struct suite *s)
{
    CHECK_CODE(s, put_full(s, K(s, "wrong-hint"), 4, 9 * MIB, MIB, 10, 0, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "wrong-hint"), 4, 9 * MIB, err), VMB_OK);
    CHECK_CODE(s, put_full(s, K(s, "wrong-hint"), 5, 10, MIB, 9 * MIB, 0, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "wrong-hint"), 5, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "wrong-hint"), err), VMB_OK);
}

static void object_is_invisible_before_commit(struct suite *s)
{
    static const char *const nothing[] = {NULL};
    static const int64_t sizes[] = {10, 9 * MIB};
    int64_t size = 0;
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        void *op = NULL;

        CHECK_CODE(s, put_part(s, &s->job, K(s, "half/new"), 1, sizes[i], MIB, -1, 0, &op, err),
                   VMB_OK);
        CHECK_CODE(s, stat_size(s, K(s, "half/new"), &size, err), VMB_E_NOT_FOUND);
        expect_list(s, "half", NULL, nothing);
        expect_list(s, "half", "/", nothing);
        CHECK_CODE(s, s->p->put_commit(s->p->user, &s->job, op, err), VMB_OK);
        CHECK_CODE(s, get(s, K(s, "half/new"), 1, sizes[i], err), VMB_OK);
        CHECK_CODE(s, rm(s, K(s, "half/new"), err), VMB_OK);
    }
}

static void object_keeps_old_content_until_commit(struct suite *s)
{
    void *op = NULL;

    CHECK_CODE(s, put(s, K(s, "replace"), 1, 100, err), VMB_OK);
    CHECK_CODE(s, put_part(s, &s->job, K(s, "replace"), 2, 9 * MIB, MIB, -1, 0, &op, err),
               VMB_OK);
    CHECK_CODE(s, get(s, K(s, "replace"), 1, 100, err), VMB_OK);
    CHECK_CODE(s, s->p->put_commit(s->p->user, &s->job, op, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "replace"), 2, 9 * MIB, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "replace"), err), VMB_OK);
}

static void put_aborted_leaves_nothing(struct suite *s)
{
    static const int64_t sizes[] = {0, 10, 20 * MIB};
    static const char *const nothing[] = {NULL};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        void *op = NULL;
        int64_t size = 0;

        CHECK_CODE(s, put_part(s, &s->job, K(s, "gone/a"), 1, sizes[i], MIB, -1, 0, &op, err),
                   VMB_OK);
        s->p->put_abort(s->p->user, op);
        CHECK_CODE(s, stat_size(s, K(s, "gone/a"), &size, err), VMB_E_NOT_FOUND);
        expect_list(s, "gone", "/", nothing);
    }
}

static void put_aborted_keeps_the_old_object(struct suite *s)
{
    void *op = NULL;

    CHECK_CODE(s, put(s, K(s, "kept"), 1, 100, err), VMB_OK);
    CHECK_CODE(s, put_part(s, &s->job, K(s, "kept"), 2, 9 * MIB, MIB, -1, 0, &op, err), VMB_OK);
    s->p->put_abort(s->p->user, op);
    CHECK_CODE(s, get(s, K(s, "kept"), 1, 100, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "kept"), err), VMB_OK);
}

/* The refusal may come at any step, commit at the latest. */
static void put_if_absent_refuses_an_existing_key(struct suite *s)
{
    static const int64_t sizes[] = {10, 9 * MIB};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(sizes); i++) {
        CHECK_CODE(s, put_full(s, K(s, "once"), 1, sizes[i], MIB, -1, VMB_PUT_IF_ABSENT, err),
                   VMB_OK);
        CHECK_CODE(s, put_full(s, K(s, "once"), 2, sizes[i], MIB, -1, VMB_PUT_IF_ABSENT, err),
                   VMB_E_EXISTS);
        CHECK_CODE(s, get(s, K(s, "once"), 1, sizes[i], err), VMB_OK);
        CHECK_CODE(s, rm(s, K(s, "once"), err), VMB_OK);
    }
}

static void put_with_unknown_flag_is_refused(struct suite *s)
{
    void *op = NULL;

    CHECK_CODE(s, s->p->put_begin(s->p->user, &s->job, K(s, "flag"), -1, 1u << 30, &op, err),
               VMB_E_ARG);
    CHECK(s, op == NULL);
}

static void get_ranges_are_cut_and_refused(struct suite *s)
{
    const char *key = K(s, "ranges");

    CHECK_CODE(s, put(s, key, 6, 1000, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 0, 1, 1, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 5, 10, 10, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 7, -1, 993, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 990, 100, 10, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 999, 1, 1, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 0, 0, 0, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 500, 0, 0, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 1000, -1, 0, err), VMB_OK);
    CHECK_CODE(s, get_range(s, key, 6, 1000, 1, 0, err), VMB_E_ARG);
    CHECK_CODE(s, get_range(s, key, 6, 1001, -1, 0, err), VMB_E_ARG);
    CHECK_CODE(s, get_range(s, key, 6, -1, 5, 0, err), VMB_E_ARG);
    CHECK_CODE(s, get_range(s, key, 6, 0, -2, 0, err), VMB_E_ARG);
    CHECK_CODE(s, rm(s, key, err), VMB_OK);
}

static void key_absent_is_not_found(struct suite *s)
{
    int64_t size = 0;

    CHECK_CODE(s, get(s, K(s, "absent"), 1, 0, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, get_range(s, K(s, "absent"), 1, 5, 10, 0, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, get_range(s, K(s, "absent"), 1, 0, 0, 0, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, get(s, K(s, "absent/below"), 1, 0, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, stat_size(s, K(s, "absent"), &size, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, rm(s, K(s, "absent"), err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "absent/below"), err), VMB_OK);
}

static void folder_of_objects_is_no_object(struct suite *s)
{
    int64_t size = 0;

    CHECK_CODE(s, put(s, K(s, "folder/x"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, stat_size(s, K(s, "folder"), &size, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, get(s, K(s, "folder"), 1, 0, err), VMB_E_NOT_FOUND);
    CHECK_CODE(s, rm(s, K(s, "folder"), err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, "folder/x"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "folder/x"), err), VMB_OK);
}

static void mtime_is_about_now(struct suite *s)
{
    int64_t size = 0;
    int64_t mtime = 0;

    CHECK_CODE(s, put(s, K(s, "timed"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, s->p->stat(s->p->user, &s->job, K(s, "timed"), &size, &mtime, err), VMB_OK);
    CHECK(s, mtime > vmbi_unix_ns() - 3600 * VMBI_SECOND);
    CHECK(s, mtime < vmbi_unix_ns() + 3600 * VMBI_SECOND);
    CHECK_CODE(s, rm(s, K(s, "timed"), err), VMB_OK);
}

static void key_removed_is_gone(struct suite *s)
{
    static const char *const nothing[] = {NULL};
    int64_t size = 0;

    CHECK_CODE(s, put(s, K(s, "rm/deep/er"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "rm/deep/er"), err), VMB_OK);
    CHECK_CODE(s, stat_size(s, K(s, "rm/deep/er"), &size, err), VMB_E_NOT_FOUND);
    expect_list(s, "rm", NULL, nothing);
    expect_list(s, "rm", "/", nothing);
}

/* ---- tests: keys ------------------------------------------------------------------------------- */

static void keys_with_odd_characters_work(struct suite *s)
{
    static const char *const names[] = {
        "odd/sp ace+plus%25%2F",  "odd/a=b&c?d#e",      "odd/(par)!*'\"~",
        "odd/caf\xc3\xa9/\xe2\x82\xac", "odd/@:;,$[]{}|^`\\", "odd/<&>",
        "odd/-dash_under.dot",    "odd/UPPER/lower",    "odd/100%",
    };
    struct listing l = {{NULL, 0, 0}, 0, 0, 0};
    size_t i = 0;
    vmb_error *e = NULL;

    for (i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        CHECK_CODE(s, put(s, K(s, names[i]), (uint32_t)i, 50 + (int64_t)i, err), VMB_OK);
    }
    for (i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        CHECK_CODE(s, get(s, K(s, names[i]), (uint32_t)i, 50 + (int64_t)i, err), VMB_OK);
    }
    if (list(s, K(s, "odd/"), NULL, &l, &e) != VMB_OK) {
        failed(s, "list: %s", vmb_error_message(e));
    }
    vmb_error_free(e);
    for (i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        if (!vmbi_strs_has(&l.keys, K(s, names[i]))) {
            failed(s, "key %s is missing in the list", names[i]);
        }
    }
    if (l.keys.n != VMBI_ARRAY_LEN(names)) {
        failed(s, "%zu keys listed, not %zu", l.keys.n, VMBI_ARRAY_LEN(names));
    }
    vmbi_strs_free(&l.keys);
    for (i = 0; i < VMBI_ARRAY_LEN(names); i++) {
        CHECK_CODE(s, rm(s, K(s, names[i]), err), VMB_OK);
    }
}

static void keys_with_control_bytes_work(struct suite *s)
{
    static const char *const names[] = {"ctl/a\x01z", "ctl/tab\there", NULL};

    CHECK_CODE(s, put(s, K(s, names[0]), 1, 10, err), VMB_OK);
    CHECK_CODE(s, put(s, K(s, names[1]), 2, 20, err), VMB_OK);
    expect_list(s, "ctl/", NULL, names);
    CHECK_CODE(s, get(s, K(s, names[0]), 1, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, names[0]), err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, names[1]), err), VMB_OK);
}

static void keys_that_are_none_are_refused(struct suite *s)
{
    char longest[1100];
    const char *const bad[] = {"", "/leading", longest};
    size_t i = 0;

    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (i = 200; i < sizeof(longest) - 1; i += 200) {
        longest[i] = '/';
    }
    for (i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        void *op = NULL;
        int64_t size = 0;

        CHECK_CODE(s, s->p->put_begin(s->p->user, &s->job, bad[i], -1, 0, &op, err), VMB_E_ARG);
        CHECK_CODE(s, stat_size(s, bad[i], &size, err), VMB_E_ARG);
        CHECK_CODE(s, get(s, bad[i], 1, 0, err), VMB_E_ARG);
        CHECK_CODE(s, rm(s, bad[i], err), VMB_E_ARG);
    }
}

static void key_long_works(struct suite *s)
{
    char name[1025];
    const size_t len = 1024 - strlen(s->o->prefix);
    size_t i = 0;

    for (i = 0; i < len; i++) {
        name[i] = i % 200 == 199 ? '/' : 'k';
    }
    name[len] = '\0';
    CHECK_CODE(s, put(s, K(s, name), 1, 10, err), VMB_OK);
    CHECK_CODE(s, get(s, K(s, name), 1, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, name), err), VMB_OK);
}

/* ---- tests: listing ---------------------------------------------------------------------------- */

static void list_is_in_byte_order_and_folds(struct suite *s)
{
    const char *last = s->o->plain_keys ? "l/~" : "l/\xc3\xa9";
    const char *const keys[] = {"l/a/b", "l/a/c/d", "l/a-b", "l/a0", "l/B", "l/b/x/y/z", last};
    const char *const all[] = {"l/B",  "l/a-b",     "l/a/b", "l/a/c/d",
                               "l/a0", "l/b/x/y/z", last,    NULL};
    const char *const top[] = {"l/B", "l/a-b", "*l/a/", "l/a0", "*l/b/", last, NULL};
    static const char *const folded_a[] = {"l/a/b", "*l/a/c/", NULL};
    static const char *const starts_a[] = {"l/a-b", "*l/a/", "l/a0", NULL};
    static const char *const only_l[] = {"*l/", NULL};
    static const char *const nothing[] = {NULL};
    static const char *const one[] = {"l/a/c/d", NULL};
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(keys); i++) {
        CHECK_CODE(s, put(s, K(s, keys[i]), 1, 10, err), VMB_OK);
    }
    expect_list(s, "l/", NULL, all);
    expect_list(s, "l/", "", all);
    expect_list(s, "l", NULL, all);
    expect_list(s, "l/", "/", top);
    expect_list(s, "l", "/", only_l);
    expect_list(s, "l/a/", "/", folded_a);
    expect_list(s, "l/a", "/", starts_a);
    expect_list(s, "l/a/c/d", NULL, one);
    expect_list(s, "l/a/c/d", "/", one);
    expect_list(s, "l/none", NULL, nothing);
    expect_list(s, "l/none/", "/", nothing);
    for (i = 0; i < VMBI_ARRAY_LEN(keys); i++) {
        CHECK_CODE(s, rm(s, K(s, keys[i]), err), VMB_OK);
    }
}

static void list_tells_size_and_time(struct suite *s)
{
    struct listing l = {{NULL, 0, 0}, 0, 0, 0};

    CHECK_CODE(s, put(s, K(s, "lst/one"), 1, 1234, err), VMB_OK);
    CHECK_CODE(s, list(s, K(s, "lst/"), NULL, &l, err), VMB_OK);
    vmbi_strs_free(&l.keys);
    CHECK(s, l.last_size == 1234);
    CHECK(s, l.last_mtime > vmbi_unix_ns() - 3600 * VMBI_SECOND);
    CHECK(s, l.last_mtime < vmbi_unix_ns() + 3600 * VMBI_SECOND);
    CHECK_CODE(s, rm(s, K(s, "lst/one"), err), VMB_OK);
}

static void list_ends_with_the_code_of_its_sink(struct suite *s)
{
    struct listing l = {{NULL, 0, 0}, 0, 0, 2};

    CHECK_CODE(s, put(s, K(s, "lf/a"), 1, 1, err), VMB_OK);
    CHECK_CODE(s, put(s, K(s, "lf/b"), 1, 1, err), VMB_OK);
    CHECK_CODE(s, put(s, K(s, "lf/c"), 1, 1, err), VMB_OK);
    CHECK_CODE(s, list(s, K(s, "lf/"), NULL, &l, err), VMB_E_FULL);
    CHECK(s, l.keys.n == 1);
    vmbi_strs_free(&l.keys);
    CHECK_CODE(s, rm(s, K(s, "lf/a"), err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "lf/b"), err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "lf/c"), err), VMB_OK);
}

static void many_name(char *out, size_t size, int i)
{
    (void)snprintf(out, size, "many/%05d/x", i);
}

static void list_longer_than_a_page_is_complete(struct suite *s)
{
    const int n = s->o->many_objects > 0 ? s->o->many_objects : 1100;
    struct listing l = {{NULL, 0, 0}, 0, 0, 0};
    struct listing folded = {{NULL, 0, 0}, 0, 0, 0};
    char name[64];
    int i = 0;

    for (i = 0; i < n; i++) {
        many_name(name, sizeof(name), i);
        CHECK_CODE(s, put(s, K(s, name), 1, 1, err), VMB_OK);
    }
    CHECK_CODE(s, list(s, K(s, "many/"), NULL, &l, err), VMB_OK);
    CHECK_CODE(s, list(s, K(s, "many/"), "/", &folded, err), VMB_OK);
    CHECK(s, l.keys.n == (size_t)n);
    CHECK(s, folded.keys.n == (size_t)n);
    for (i = 0; i < n; i++) {
        many_name(name, sizeof(name), i);
        CHECK(s, strcmp(l.keys.v[i], K(s, name)) == 0);
        CHECK_CODE(s, rm(s, K(s, name), err), VMB_OK);
    }
    vmbi_strs_free(&l.keys);
    vmbi_strs_free(&folded.keys);
}

/* ---- tests: failures, limits, threads ---------------------------------------------------------- */

static vmb_code refuse(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)user;
    (void)data;
    (void)len;
    return vmbi_fail(err, VMB_E_FULL, "the test's sink is full");
}

static void get_ends_with_the_code_of_its_sink(struct suite *s)
{
    struct vmb_sink sink = {refuse, NULL};

    CHECK_CODE(s, put(s, K(s, "sinkfail"), 1, 100, err), VMB_OK);
    CHECK_CODE(s, s->p->get(s->p->user, &s->job, K(s, "sinkfail"), 0, -1, &sink, err),
               VMB_E_FULL);
    CHECK_CODE(s, rm(s, K(s, "sinkfail"), err), VMB_OK);
}

static void deadline_passed_is_a_timeout(struct suite *s)
{
    struct vmb_job late = s->job;
    struct vmb_sink sink = {refuse, NULL};
    struct listing l = {{NULL, 0, 0}, 0, 0, 0};
    struct vmb_key_sink keys = {list_push, &l};
    int64_t size = 0;
    int64_t mtime = 0;
    void *op = NULL;

    late.limits.deadline_mono_ns = vmbi_mono_ns() - 1;
    CHECK_CODE(s, put(s, K(s, "late"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, s->p->stat(s->p->user, &late, K(s, "late"), &size, &mtime, err),
               VMB_E_TIMEOUT);
    CHECK_CODE(s, s->p->get(s->p->user, &late, K(s, "late"), 0, -1, &sink, err), VMB_E_TIMEOUT);
    CHECK_CODE(s, s->p->list(s->p->user, &late, K(s, "late"), NULL, &keys, err), VMB_E_TIMEOUT);
    CHECK_CODE(s, s->p->remove(s->p->user, &late, K(s, "late"), err), VMB_E_TIMEOUT);
    CHECK_CODE(s, s->p->put_begin(s->p->user, &s->job, K(s, "late"), -1, 0, &op, err), VMB_OK);
    CHECK_CODE(s, s->p->put_write(s->p->user, &s->job, op, "x", 1, err), VMB_OK);
    CHECK_CODE(s, s->p->put_commit(s->p->user, &late, op, err), VMB_E_TIMEOUT);
    CHECK_CODE(s, get(s, K(s, "late"), 1, 10, err), VMB_OK);
    CHECK_CODE(s, rm(s, K(s, "late"), err), VMB_OK);
}

static void *fire_later(void *arg)
{
    const struct timespec t = {0, 200 * 1000 * 1000};

    nanosleep(&t, NULL);
    vmbi_cancel_fire(arg);
    return NULL;
}

/* Writes without end until the cancellation, fired meanwhile, is heard. */
static void put_until_cancelled(struct suite *s, struct vmb_job *job)
{
    static uint8_t block[MIB];
    void *op = NULL;
    vmb_error *e = NULL;
    vmb_code code = VMB_OK;
    int64_t start = vmbi_mono_ns();
    int64_t end = 0;
    int64_t size = 0;

    code = s->p->put_begin(s->p->user, job, K(s, "cancelled/put"), -1, 0, &op, &e);
    CHECK(s, code == VMB_OK);
    while (code == VMB_OK && vmbi_mono_ns() - start < 10 * VMBI_SECOND) {
        code = s->p->put_write(s->p->user, job, op, block, sizeof(block), &e);
    }
    end = vmbi_mono_ns();
    s->p->put_abort(s->p->user, op);
    if (code != VMB_E_CANCELLED) {
        failed(s, "put ended with %s (%s)", vmb_code_name(code), vmb_error_message(e));
    }
    vmb_error_free(e);
    CHECK(s, end - start < 8 * VMBI_SECOND);
    CHECK(s, vmbi_mono_ns() - end < 20 * VMBI_SECOND);
    CHECK_CODE(s, stat_size(s, K(s, "cancelled/put"), &size, err), VMB_E_NOT_FOUND);
}

static vmb_code slow_sink(void *user, const void *data, size_t len, vmb_error **err)
{
    const struct timespec t = {0, 20 * 1000 * 1000};

    (void)user;
    (void)data;
    (void)len;
    (void)err;
    nanosleep(&t, NULL);
    return VMB_OK;
}

static void get_until_cancelled(struct suite *s, struct vmb_job *job)
{
    struct vmb_sink sink = {slow_sink, NULL};
    vmb_error *e = NULL;
    vmb_code code = VMB_OK;
    int64_t start = vmbi_mono_ns();

    while (code == VMB_OK && vmbi_mono_ns() - start < 10 * VMBI_SECOND) {
        code = s->p->get(s->p->user, job, K(s, "cancelled-get"), 0, -1, &sink, &e);
    }
    if (code != VMB_E_CANCELLED) {
        failed(s, "get ended with %s (%s)", vmb_code_name(code), vmb_error_message(e));
    }
    vmb_error_free(e);
    CHECK(s, vmbi_mono_ns() - start < 8 * VMBI_SECOND);
}

static void cancellation_is_heard_within_a_second(struct suite *s)
{
    void (*const what[])(struct suite *, struct vmb_job *) = {put_until_cancelled,
                                                              get_until_cancelled};
    size_t i = 0;

    CHECK_CODE(s, put(s, K(s, "cancelled-get"), 1, 9 * MIB, err), VMB_OK);
    for (i = 0; i < VMBI_ARRAY_LEN(what); i++) {
        vmbi_cancel *cancel = NULL;
        struct vmb_job job = s->job;
        pthread_t t;

        CHECK_CODE(s, vmbi_cancel_new(&cancel, err), VMB_OK);
        job.limits.cancel = cancel;
        pthread_create(&t, NULL, fire_later, cancel);
        what[i](s, &job);
        pthread_join(t, NULL);
        vmbi_cancel_free(cancel);
    }
    CHECK_CODE(s, rm(s, K(s, "cancelled-get"), err), VMB_OK);
}

static void commit_after_cancellation_makes_nothing_visible(struct suite *s)
{
    vmbi_cancel *cancel = NULL;
    struct vmb_job job = s->job;
    void *op = NULL;
    int64_t size = 0;

    CHECK_CODE(s, vmbi_cancel_new(&cancel, err), VMB_OK);
    job.limits.cancel = cancel;
    CHECK_CODE(s, put_part(s, &job, K(s, "cc"), 1, 9 * MIB, MIB, -1, 0, &op, err), VMB_OK);
    vmbi_cancel_fire(cancel);
    CHECK_CODE(s, s->p->put_commit(s->p->user, &job, op, err), VMB_E_CANCELLED);
    vmbi_cancel_free(cancel);
    CHECK_CODE(s, stat_size(s, K(s, "cc"), &size, err), VMB_E_NOT_FOUND);
}

struct worker {
    struct suite s; /* own copy: own error text and key buffers */
    int number;
};

static void worker_rounds(struct suite *s, int number)
{
    char name[64];
    int i = 0;

    for (i = 0; i < 6; i++) {
        const int64_t size = i % 3 == 2 ? 9 * MIB : 3000 + i;

        (void)snprintf(name, sizeof(name), "par/%d/%d", number, i);
        CHECK_CODE(s, put(s, K(s, name), (uint32_t)(number * 100 + i), size, err), VMB_OK);
        CHECK_CODE(s, get(s, K(s, name), (uint32_t)(number * 100 + i), size, err), VMB_OK);
        CHECK_CODE(s, rm(s, K(s, name), err), VMB_OK);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    worker_rounds(&w->s, w->number);
    return NULL;
}

static void threads_use_one_store_at_a_time(struct suite *s)
{
    struct worker w[6];
    pthread_t t[VMBI_ARRAY_LEN(w)];
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(w); i++) {
        w[i].s = *s;
        w[i].number = (int)i;
        pthread_create(&t[i], NULL, worker_main, &w[i]);
    }
    for (i = 0; i < VMBI_ARRAY_LEN(w); i++) {
        pthread_join(t[i], NULL);
        if (w[i].s.why[0] != '\0') {
            failed(s, "thread %zu: %s", i, w[i].s.why);
        }
    }
}

static void fetch_url(struct suite *s, const char *url, const char *method, int status,
                      const char *body)
{
    const vmbi_http_config config = {.insecure_skip_verify = s->o->insecure, .max_tries = 2};
    const vmbi_http_request q = {.method = method, .url = url};
    const vmbi_limits limits = vmbi_limits_within(NULL, 10 * VMBI_SECOND);
    vmbi_http *h = NULL;
    vmbi_http_response r;
    vmb_error *e = NULL;

    vmbi_http_response_init(&r, 65536);
    if (vmbi_http_new(&config, &h, &e) != VMB_OK ||
        vmbi_http_perform(h, &q, &limits, &r, &e) != VMB_OK) {
        failed(s, "%s of the presigned URL: %s", method, vmb_error_message(e));
    } else if (r.status != status || (body && !vmbi_streq(r.body.data, body))) {
        failed(s, "%s of the presigned URL: status %d, body %.200s", method, r.status,
               r.body.data ? r.body.data : "");
    }
    vmb_error_free(e);
    vmbi_http_response_free(&r);
    vmbi_http_free(h);
}

static vmb_code presign(struct suite *s, const char *key, int64_t ttl_ns, vmbi_buf *url,
                        vmb_error **err)
{
    struct vmb_sink sink = vmbi_sink_to_buf(url);

    return s->p->presign(s->p->user, &s->job, key, ttl_ns, &sink, err);
}

static void presigned_url_gives_the_object_without_credentials(struct suite *s)
{
    vmbi_buf url = VMBI_BUF_INIT(16384);
    const char *name = s->o->plain_keys ? "pre/a~b.c" : "pre/a b+%";
    void *op = NULL;

    if (!s->p->presign) {
        s->skipped = true;
        return;
    }
    CHECK_CODE(s, s->p->put_begin(s->p->user, &s->job, K(s, name), 5, 0, &op, err),
               VMB_OK);
    CHECK_CODE(s, s->p->put_write(s->p->user, &s->job, op, "hello", 5, err), VMB_OK);
    CHECK_CODE(s, s->p->put_commit(s->p->user, &s->job, op, err), VMB_OK);
    CHECK_CODE(s, presign(s, K(s, name), 600 * VMBI_SECOND, &url, err), VMB_OK);
    fetch_url(s, url.data, "GET", 200, "hello");
    vmbi_buf_adds(&url, "0"); /* one character more in the signature */
    fetch_url(s, url.data, "GET", 403, NULL);
    vmbi_buf_free(&url);
    CHECK_CODE(s, presign(s, K(s, name), 0, &url, err), VMB_E_ARG);
    CHECK_CODE(s, rm(s, K(s, name), err), VMB_OK);
}

/* ---- the list ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(struct suite *s);
} tests[] = {
#define TEST(name) {#name, name}
    TEST(object_small_reads_back),
    TEST(object_empty_reads_back),
    TEST(object_large_of_unknown_size_reads_back),
    TEST(object_large_of_known_size_reads_back),
    TEST(object_around_a_part_border_reads_back),
    TEST(object_with_a_wrong_size_hint_reads_back),
    TEST(object_is_invisible_before_commit),
    TEST(object_keeps_old_content_until_commit),
    TEST(put_aborted_leaves_nothing),
    TEST(put_aborted_keeps_the_old_object),
    TEST(put_if_absent_refuses_an_existing_key),
    TEST(put_with_unknown_flag_is_refused),
    TEST(get_ranges_are_cut_and_refused),
    TEST(key_absent_is_not_found),
    TEST(folder_of_objects_is_no_object),
    TEST(mtime_is_about_now),
    TEST(key_removed_is_gone),
    TEST(keys_with_odd_characters_work),
    TEST(keys_with_control_bytes_work),
    TEST(keys_that_are_none_are_refused),
    TEST(key_long_works),
    TEST(list_is_in_byte_order_and_folds),
    TEST(list_tells_size_and_time),
    TEST(list_ends_with_the_code_of_its_sink),
    TEST(list_longer_than_a_page_is_complete),
    TEST(get_ends_with_the_code_of_its_sink),
    TEST(deadline_passed_is_a_timeout),
    TEST(cancellation_is_heard_within_a_second),
    TEST(commit_after_cancellation_makes_nothing_visible),
    TEST(threads_use_one_store_at_a_time),
    TEST(presigned_url_gives_the_object_without_credentials),
};

static bool in_list(const char *list, const char *name)
{
    const size_t len = strlen(name);
    const char *p = list;

    while (p && (p = strstr(p, name)) != NULL) {
        if ((p == list || p[-1] == ',') && (p[len] == ',' || p[len] == '\0')) {
            return true;
        }
        p += len;
    }
    return false;
}

static void run_one(struct suite *s, const char *name, void (*run)(struct suite *s))
{
    const char *outcome = "ok";

    s->why[0] = '\0';
    s->skipped = in_list(s->o->skip, name);
    if (!s->skipped) {
        run(s);
    }
    if (s->why[0] != '\0') {
        outcome = s->why;
        s->counts->failed++;
    } else if (s->skipped) {
        outcome = "skipped";
        s->counts->skipped++;
    } else {
        s->counts->passed++;
    }
    if (s->o->report) {
        s->o->report(s->o->user, name, outcome);
    }
}

void store_suite_run(const vmb_store_provider *store, const store_suite_options *options,
                     store_suite_counts *counts)
{
    struct suite s;
    size_t i = 0;

    memset(&s, 0, sizeof(s));
    s.p = store;
    s.o = options;
    s.counts = counts;
    for (i = 0; i < VMBI_ARRAY_LEN(tests); i++) {
        if (!options->only || strstr(tests[i].name, options->only)) {
            run_one(&s, tests[i].name, tests[i].run);
        }
    }
}
