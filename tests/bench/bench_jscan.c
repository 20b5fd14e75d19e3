/* SPDX-License-Identifier: Apache-2.0 */
/* How fast are objects scanned? Prints one line per function; a figure below a floor fails when
 * VMB_BENCH_STRICT is set (a shared machine is no place for a hard limit). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "codec/jscan.h"
#include "codec/json.h"

/* Time on the processor: other work on the machine does not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A ConfigMap of about 1 KB, as the API server sends it. */
static void make_object(vmbi_buf *b, unsigned i)
{
    vmbi_buf_addf(
        b,
        "{\"apiVersion\":\"v1\",\"data\":{\"app.properties\":\"color=blue\\nmode=fast\\n"
        "retries=3\\n\",\"log.level\":\"info\",\"url\":\"https://service-%u.shop.svc:8443/v1\"},"
        "\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{\"description\":\"settings of the "
        "web shop\",\"owner\":\"team-%u\"},\"creationTimestamp\":\"2026-05-20T08:00:22Z\","
        "\"labels\":{\"app\":\"web\",\"app.kubernetes.io/instance\":\"shop-%u\","
        "\"app.kubernetes.io/managed-by\":\"helm\"},\"managedFields\":[{\"apiVersion\":\"v1\","
        "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\".\":{},\"f:app.properties\":{},"
        "\"f:log.level\":{},\"f:url\":{}},\"f:metadata\":{\"f:annotations\":{\".\":{},"
        "\"f:description\":{},\"f:owner\":{}},\"f:labels\":{\".\":{},\"f:app\":{}}}},\"manager\":"
        "\"kubectl-client-side-apply\",\"operation\":\"Update\",\"time\":\"2026-05-20T08:00:22Z\"}]"
        ","
        "\"name\":\"settings-%u\",\"namespace\":\"shop\",\"resourceVersion\":\"%u\",\"uid\":"
        "\"0b9f1c7e-5d0a-4a51-9d7f-%012u\"}}",
        i, i % 7, i, i, 1000 + i, i);
}

enum { OBJECTS = 1000, ROUNDS = 300, PARSE_ROUNDS = 20 };

static vmbi_slice objects[OBJECTS];

static double report(const char *name, int64_t ns, size_t bytes, unsigned rounds)
{
    double rate = (double)bytes * rounds / (double)ns;

    printf("%-24s %6.2f GB/s  %6.0f ns per object\n", name, rate,
           (double)ns / ((double)rounds * OBJECTS));
    return rate;
}

static double run_skip(size_t bytes)
{
    int64_t start = cpu_ns();

    for (unsigned r = 0; r < ROUNDS; r++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            const char *end = objects[i].p + objects[i].len;

            if (vmbi_jscan_skip(objects[i].p, end) != end) {
                exit(1);
            }
        }
    }
    return report("vmbi_jscan_skip", cpu_ns() - start, bytes, ROUNDS);
}

static void run_object(size_t bytes)
{
    int64_t start = cpu_ns();

    for (unsigned r = 0; r < ROUNDS; r++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            vmbi_object_scan o;

            if (!vmbi_jscan_k8s_object(objects[i].p, objects[i].len, &o) || o.uid.p == NULL) {
                exit(1);
            }
        }
    }
    report("vmbi_jscan_k8s_object", cpu_ns() - start, bytes, ROUNDS);
}

static void run_parse(size_t bytes)
{
    vmbi_buf out = VMBI_BUF_INIT(1 << 20);
    int64_t start = cpu_ns();

    for (unsigned r = 0; r < PARSE_ROUNDS; r++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            vmbi_json *v = NULL;

            vmbi_buf_reset(&out);
            if (vmbi_json_parse(objects[i].p, objects[i].len, "o", &v, NULL) != VMB_OK ||
                vmbi_json_print(v, &out, NULL) != VMB_OK || out.len != objects[i].len) {
                exit(1);
            }
            vmbi_json_free(v);
        }
    }
    report("parse and print a tree", cpu_ns() - start, bytes, PARSE_ROUNDS);
    vmbi_buf_free(&out);
}

int main(void)
{
    vmbi_buf all = VMBI_BUF_INIT(1 << 24);
    size_t from[OBJECTS + 1] = {0};
    double rate;

    for (unsigned i = 0; i < OBJECTS; i++) {
        make_object(&all, i);
        from[i + 1] = all.len;
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = (vmbi_slice){all.data + from[i], from[i + 1] - from[i]};
    }
    printf("%d objects of %zu bytes\n", OBJECTS, all.len / OBJECTS);
    rate = run_skip(all.len);
    run_object(all.len);
    run_parse(all.len);
    vmbi_buf_free(&all);
    return getenv("VMB_BENCH_STRICT") != NULL && rate < 1.0 ? 1 : 0;
}
