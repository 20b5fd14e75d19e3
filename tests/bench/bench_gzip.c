/* SPDX-License-Identifier: Apache-2.0 */
/* Why igzip level 1: size and speed of each level on a tar of Kubernetes objects, with zlib's level
 * 6 (what Go's writer is comparable to) beside them. Input: a file, or objects made up here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <isa-l/igzip_lib.h>
#include <zlib.h>

#include "base/buf.h"
#include "codec/digest.h"
#include "codec/tar.h"

/* Time on the processor: other work on the machine does not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static vmb_code to_buf(void *user, const void *data, size_t len, vmb_error **err)
{
    vmbi_buf_add(user, data, len);
    return vmbi_buf_check(user, err, "output");
}

static void make_tar(vmbi_buf *out)
{
    vmbi_tar *t = NULL;
    vmbi_buf b = VMBI_BUF_INIT(1 << 20);

    if (vmbi_tar_new(to_buf, out, &t, NULL) != VMB_OK) {
        exit(1);
    }
    for (unsigned i = 0; i < 20000; i++) {
        char uid[37], path[128];
        vmbi_slice part;

        vmbi_uuid4(uid);
        vmbi_buf_reset(&b);
        vmbi_buf_addf(
            &b,
            "{\"apiVersion\":\"v1\",\"data\":{\"app.properties\":\"color=blue\\nmode=fast\\nid=%"
            "s\\n\","
            "\"url\":\"https://service-%u.shop.svc:8443/v1\"},\"kind\":\"ConfigMap\",\"metadata\":{"
            "\"creationTimestamp\":\"2026-05-20T08:00:%02uZ\",\"labels\":{\"app\":\"web-%u\"},"
            "\"managedFields\":[{\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{"
            "\"f:data\""
            ":{\".\":{},\"f:app.properties\":{},\"f:url\":{}}},\"manager\":\"kubectl\","
            "\"operation\":"
            "\"Update\",\"time\":\"2026-05-20T08:00:22Z\"}],\"name\":\"settings-%u\",\"namespace\":"
            "\"shop\","
            "\"resourceVersion\":\"%u\",\"uid\":\"%.8s-%s\"}}",
            uid, i, i % 60, i % 37, i, 100000 + i * 3, uid + 20, uid);
        part = (vmbi_slice){b.data, b.len};
        (void)snprintf(path, sizeof(path), "resources/configmaps/namespaces/shop/settings-%u.json",
                       i);
        if (vmbi_tar_add(t, path, 1779264022, &part, 1, NULL) != VMB_OK) {
            exit(1);
        }
    }
    (void)vmbi_tar_finish(t, NULL);
    vmbi_tar_free(t);
    vmbi_buf_free(&b);
}

static void report(const char *name, size_t in, size_t out, int64_t ns)
{
    printf("%-18s %9zu bytes (%5.2f %%)  %7.1f MB/s\n", name, out, 100.0 * (double)out / (double)in,
           (double)in * 1000.0 / (double)ns);
}

static void run_igzip(const vmbi_buf *in, uint32_t level)
{
    static const uint32_t sizes[] = {0, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
                                     ISAL_DEF_LVL3_DEFAULT};
    struct isal_zstream *z = malloc(sizeof(*z));
    uint8_t *level_buf = malloc(sizes[level] + 1);
    uint8_t *out = malloc(in->len + 1000);
    int64_t start = cpu_ns();
    char name[32];

    if (z == NULL || level_buf == NULL || out == NULL) {
        exit(1);
    }
    isal_deflate_init(z);
    z->level = level;
    z->level_buf = level_buf;
    z->level_buf_size = sizes[level];
    z->gzip_flag = IGZIP_GZIP;
    z->next_in = (uint8_t *)in->data;
    z->avail_in = (uint32_t)in->len;
    z->next_out = out;
    z->avail_out = (uint32_t)in->len + 1000;
    z->end_of_stream = 1;
    if (isal_deflate(z) != COMP_OK) {
        exit(1);
    }
    (void)snprintf(name, sizeof(name), "igzip level %u", level);
    report(name, in->len, z->total_out, cpu_ns() - start);
    free(out);
    free(level_buf);
    free(z);
}

static void run_zlib(const vmbi_buf *in, int level)
{
    uLongf len = compressBound(in->len);
    uint8_t *out = malloc(len);
    int64_t start = cpu_ns();
    char name[32];

    if (out == NULL || compress2(out, &len, (const Bytef *)in->data, in->len, level) != Z_OK) {
        exit(1);
    }
    (void)snprintf(name, sizeof(name), "zlib level %d", level);
    report(name, in->len, len, cpu_ns() - start);
    free(out);
}

static void run_ours(const vmbi_buf *in)
{
    vmbi_buf out = VMBI_BUF_INIT(1 << 28);
    vmbi_gzip *z = NULL;
    int64_t start = cpu_ns();

    if (vmbi_gzip_new(to_buf, &out, &z, NULL) != VMB_OK) {
        exit(1);
    }
    for (size_t at = 0; at < in->len; at += 700) { /* as tar entries come: in small pieces */
        size_t n = in->len - at < 700 ? in->len - at : 700;

        if (vmbi_gzip_write(z, in->data + at, n, NULL) != VMB_OK) {
            exit(1);
        }
    }
    if (vmbi_gzip_finish(z, NULL) != VMB_OK) {
        exit(1);
    }
    report("vmbi_gzip", in->len, out.len, cpu_ns() - start);
    vmbi_gzip_free(z);
    vmbi_buf_free(&out);
}

int main(int argc, char **argv)
{
    vmbi_buf in = VMBI_BUF_INIT(1 << 28);
    int64_t start = cpu_ns();

    if (argc > 1) {
        FILE *f = fopen(argv[1], "rb");
        char block[65536];
        size_t n;

        if (f == NULL) {
            return 1;
        }
        while ((n = fread(block, 1, sizeof(block), f)) > 0) {
            vmbi_buf_add(&in, block, n);
        }
        (void)fclose(f);
    } else {
        make_tar(&in);
        report("tar alone", in.len, in.len, cpu_ns() - start);
    }
    for (uint32_t level = 0; level <= 3; level++) {
        run_igzip(&in, level);
    }
    run_ours(&in);
    run_zlib(&in, 1);
    run_zlib(&in, 6);
    vmbi_buf_free(&in);
    return 0;
}
