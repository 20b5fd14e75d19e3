/* SPDX-License-Identifier: Apache-2.0 */
/* Times label selectors: `bench cases.json` prints one line for each selector and way of matching:
 * name, way, nanoseconds of processor time per match (median), matching label sets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmbackup/selector.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "codec/json.h"
#include "model/selector.h"

enum { ROUNDS = 9, MAX_SETS = 16, MAX_PAIRS = 32, FILE_MAX = 1 << 20 };
#define ROUND_NS (200 * VMBI_MS)

typedef struct label_set {
    const char *kv[2 * MAX_PAIRS];
    size_t n;
    char *raw;
    size_t raw_len;
} label_set;

static label_set sets[MAX_SETS];
static size_t n_sets;

static void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

/* Calls the public function for every set, `times` times; returns the matches. */
static size_t match_kv(const vmb_selector *sel, size_t times)
{
    size_t hits = 0;

    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < n_sets; i++) {
            int32_t yes = 0;

            (void)vmb_selector_matches(sel, sets[i].kv, sets[i].n, &yes, NULL);
            hits += (size_t)yes;
        }
    }
    return hits;
}

static size_t match_raw(const vmb_selector *sel, size_t times)
{
    size_t hits = 0;

    for (size_t t = 0; t < times; t++) {
        for (size_t i = 0; i < n_sets; i++) {
            vmbi_slice raw = {sets[i].raw, sets[i].raw_len};

            hits += vmbi_selector_matches_raw(sel, raw) ? 1 : 0;
        }
    }
    return hits;
}

/* Processor time: what other programs do meanwhile does not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * VMBI_SECOND + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double time_one(size_t (*match)(const vmb_selector *, size_t), const vmb_selector *sel)
{
    double ns[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        int64_t start = cpu_ns();
        int64_t spent = 0;
        size_t done = 0;

        for (; spent < ROUND_NS; spent = cpu_ns() - start) {
            (void)match(sel, 5000);
            done += 5000 * n_sets;
        }
        ns[round] = (double)spent / (double)done;
    }
    qsort(ns, ROUNDS, sizeof(ns[0]), compare);
    return ns[ROUNDS / 2];
}

static vmbi_json *read_cases(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = vmbi_alloc(FILE_MAX);
    vmbi_json *doc = NULL;
    size_t len;

    if (f == NULL || text == NULL) {
        die("cannot read the cases");
    }
    len = fread(text, 1, FILE_MAX, f);
    (void)fclose(f);
    if (vmbi_json_parse(text, len, "cases", &doc, NULL) != VMB_OK) {
        die("malformed cases");
    }
    vmbi_free(text);
    return doc;
}

static void read_sets(const vmbi_json *list)
{
    n_sets = vmbi_json_len(list);
    if (n_sets > MAX_SETS) {
        die("too many label sets");
    }
    for (size_t i = 0; i < n_sets; i++) {
        const vmbi_json *labels = vmbi_json_at(list, i);

        if (vmbi_json_len(labels) > MAX_PAIRS ||
            vmbi_json_to_text(labels, &sets[i].raw, &sets[i].raw_len, NULL) != VMB_OK) {
            die("bad label set");
        }
        for (void *it = vmbi_json_iter(labels); it != NULL; it = vmbi_json_iter_next(labels, it)) {
            sets[i].kv[2 * sets[i].n] = vmbi_json_iter_key(it);
            sets[i].kv[2 * sets[i].n + 1] = vmbi_json_str(vmbi_json_iter_value(it));
            sets[i].n++;
        }
    }
}

int main(int argc, char **argv)
{
    vmbi_json *doc = read_cases(argc > 1 ? argv[1] : "cases.json");
    const vmbi_json *list = vmbi_json_get(doc, "selectors");

    read_sets(vmbi_json_get(doc, "labels"));
    for (size_t i = 0; i < vmbi_json_len(list); i++) {
        const char *name = vmbi_json_get_str(vmbi_json_at(list, i), "name");
        const char *text = vmbi_json_get_str(vmbi_json_at(list, i), "text");
        vmb_selector *sel = NULL;

        if (vmb_selector_parse(text, &sel, NULL) != VMB_OK) {
            die("bad selector");
        }
        printf("%s\tkv\t%.2f\t%zu\n", name, time_one(match_kv, sel), match_kv(sel, 1));
        printf("%s\tjson\t%.2f\t%zu\n", name, time_one(match_raw, sel), match_raw(sel, 1));
        vmb_selector_free(sel);
    }
    vmbi_json_free(doc);
    return 0;
}
