/* SPDX-License-Identifier: Apache-2.0 */
/* Archives from a store, compressed or not, in odd pieces. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *data;
    size_t len;
} input;

static int64_t read_piece(void *user, void *buf, size_t size, vmb_error **err)
{
    input *in = user;
    size_t n = in->len < 97 ? in->len : 97;

    (void)err;
    n = n < size ? n : size;
    memcpy(buf, in->data, n);
    in->data += n;
    in->len -= n;
    return (int64_t)n;
}

static vmb_code take(void *user, const char *path, const char *data, size_t len, vmb_error **err)
{
    (void)user;
    (void)err;
    if (path[0] == '/' || path[0] == '\0' || strstr(path, "/../") != NULL || data[len] != '\0' ||
        len > 100000) {
        abort();
    }
    return VMB_OK;
}

static vmb_code drop(void *user, const void *data, size_t len, vmb_error **err)
{
    (void)data;
    (void)err;
    *(size_t *)user += len;
    return VMB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    vmbi_gunzip *z = NULL;
    size_t total = 0;

    (void)vmbi_tar_read(read_piece, &in, 100000, take, NULL, NULL);
    if (vmbi_gunzip_new(1000000, drop, &total, &z, NULL) != VMB_OK) {
        return 0;
    }
    if (vmbi_gunzip_write(z, data, size, NULL) == VMB_OK) {
        (void)vmbi_gunzip_finish(z, NULL);
    }
    if (total > 1000000) {
        abort();
    }
    vmbi_gunzip_free(z);
    return 0;
}
