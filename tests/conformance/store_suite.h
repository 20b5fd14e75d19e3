/* SPDX-License-Identifier: Apache-2.0 */
/* What every store must do, whoever wrote it: a suite that runs against any vmb_store_provider. */
#ifndef TESTS_CONFORMANCE_STORE_SUITE_H
#define TESTS_CONFORMANCE_STORE_SUITE_H

#include <vmbackup/provider.h>

#include <stdbool.h>

typedef struct store_suite_options {
    const char *prefix;   /* keys are written below it; "" or ending in '/' */
    const char *only;     /* NULL: all; else the tests whose names contain it */
    const char *skip;     /* comma list of test names that the store cannot do; NULL: none */
    int64_t big_bytes;    /* size of the large objects; 0: 21 MiB + 123 */
    int32_t many_objects; /* size of the long listing; 0: 1100 */
    bool plain_keys;      /* only A-Za-z0-9-._~/ in keys, but for the tests of others */
    bool insecure;        /* presigned URLs are fetched without checking certificates */
    void (*report)(void *user, const char *test, const char *outcome); /* "ok", "skipped", why */
    void *user;
} store_suite_options;

typedef struct store_suite_counts {
    int passed;
    int failed;
    int skipped;
} store_suite_counts;

/* Runs everything; the store is left empty below the prefix. Does not call destroy. */
void store_suite_run(const vmb_store_provider *store, const store_suite_options *options,
                     store_suite_counts *counts);

#endif
