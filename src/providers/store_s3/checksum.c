/* SPDX-License-Identifier: Apache-2.0 */
#include "providers/store_s3/checksum.h"

#include "base/strs.h"
#include "codec/digest.h"

static const struct {
    const char *name;
    const char *header;
} kinds[] = {
    [VMBI_S3_CHECKSUM_NONE] = {"", ""},
    [VMBI_S3_CHECKSUM_CRC32] = {"CRC32", "x-amz-checksum-crc32"},
    [VMBI_S3_CHECKSUM_CRC32C] = {"CRC32C", "x-amz-checksum-crc32c"},
    [VMBI_S3_CHECKSUM_SHA1] = {"SHA1", "x-amz-checksum-sha1"},
    [VMBI_S3_CHECKSUM_SHA256] = {"SHA256", "x-amz-checksum-sha256"},
    [VMBI_S3_CHECKSUM_CRC64NVME] = {"CRC64NVME", "x-amz-checksum-crc64nvme"},
};

bool vmbi_s3_checksum_parse(const char *name, vmbi_s3_checksum *out)
{
    size_t i = 0;

    for (i = 0; i < VMBI_ARRAY_LEN(kinds); i++) {
        if (vmbi_strcaseeq(name, kinds[i].name)) {
            *out = (vmbi_s3_checksum)i;
            return true;
        }
    }
    return false;
}

const char *vmbi_s3_checksum_name(vmbi_s3_checksum kind)
{
    return kinds[kind].name;
}

const char *vmbi_s3_checksum_header(vmbi_s3_checksum kind)
{
    return kinds[kind].header;
}

/* CRC-64/NVME: reflected polynomial, all ones at both ends. Bit by bit over a small table made on
 * the stack: the algorithm is rare, a static table would have to be guarded. */
static uint64_t crc64nvme(const uint8_t *p, size_t len)
{
    uint64_t table[256];
    uint64_t crc = ~UINT64_C(0);
    size_t i = 0;

    for (i = 0; i < 256; i++) {
        uint64_t v = i;
        int bit = 0;

        for (bit = 0; bit < 8; bit++) {
            v = (v >> 1) ^ ((v & 1) != 0 ? UINT64_C(0x9A6C9329AC4BC9B5) : 0);
        }
        table[i] = v;
    }
    for (i = 0; i < len; i++) {
        crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xff];
    }
    return ~crc;
}

static void big_endian(uint64_t v, size_t n, char *out)
{
    uint8_t b[8];
    size_t i = 0;

    for (i = 0; i < n; i++) {
        b[n - 1 - i] = (uint8_t)(v >> (8 * i));
    }
    vmbi_base64(b, n, out);
}

void vmbi_s3_checksum_of(vmbi_s3_checksum kind, const void *data, size_t len,
                         char out[VMBI_S3_CHECKSUM_SIZE])
{
    uint8_t digest[32];
    vmbi_digest *sha1 = NULL;

    out[0] = '\0';
    switch (kind) {
    case VMBI_S3_CHECKSUM_NONE:
        break;
    case VMBI_S3_CHECKSUM_CRC32:
        big_endian(vmbi_crc32(0, data, len), 4, out);
        break;
    case VMBI_S3_CHECKSUM_CRC32C:
        big_endian(vmbi_crc32c(0, data, len), 4, out);
        break;
    case VMBI_S3_CHECKSUM_SHA1:
        if (vmbi_digest_new(VMBI_SHA1, &sha1, NULL) == VMB_OK) {
            vmbi_digest_update(sha1, data, len);
            vmbi_digest_final(sha1, digest);
            vmbi_base64(digest, 20, out);
        }
        vmbi_digest_free(sha1);
        break;
    case VMBI_S3_CHECKSUM_SHA256:
        vmbi_sha256(data, len, digest);
        vmbi_base64(digest, 32, out);
        break;
    case VMBI_S3_CHECKSUM_CRC64NVME:
        big_endian(crc64nvme(data, len), 8, out);
        break;
    }
}

void vmbi_s3_content_md5(const void *data, size_t len, char out[VMBI_S3_CHECKSUM_SIZE])
{
    uint8_t digest[16];

    vmbi_md5(data, len, digest);
    vmbi_base64(digest, sizeof(digest), out);
}
