/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of test objects, and a sink that compares with them. */
#ifndef STORE_PATTERN_H
#define STORE_PATTERN_H

#include <vmbackup/base.h>

/* Byte i of the object with a seed: no short period, so that swapped parts show. */
static inline uint8_t pattern(uint32_t seed, int64_t i)
{
    uint64_t x = (uint64_t)i / 8 + ((uint64_t)seed << 40);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint8_t)((x ^ (x >> 31)) >> (8 * (i & 7)));
}

static inline void fill(uint8_t *buf, size_t len, uint32_t seed, int64_t offset)
{
    size_t i = 0;

    for (i = 0; i < len; i++) {
        buf[i] = pattern(seed, offset + (int64_t)i);
    }
}

struct verify {
    uint32_t seed;
    int64_t at;    /* object offset of the next byte */
    int64_t bad;   /* offset of the first wrong byte, -1 */
    int64_t total;
};

static inline vmb_code verify_write(void *user, const void *data, size_t len, vmb_error **err)
{
    struct verify *v = user;
    const uint8_t *p = data;
    size_t i = 0;

    (void)err;
    for (i = 0; i < len && v->bad < 0; i++) {
        if (p[i] != pattern(v->seed, v->at + (int64_t)i)) {
            v->bad = v->at + (int64_t)i;
        }
    }
    v->at += (int64_t)len;
    v->total += (int64_t)len;
    return VMB_OK;
}

#endif
