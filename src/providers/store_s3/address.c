/* SPDX-License-Identifier: Apache-2.0 */
/* Where a key lives: endpoint, bucket, path. */
#include <string.h>

#include "base/error.h"
#include "base/strs.h"
#include "providers/store_s3/request.h"

enum { KEY_MAX = 1024 };

vmb_code vmbi_s3_check_key(const char *key, vmb_error **err)
{
    const size_t len = strlen(key);

    if (len == 0 || len > KEY_MAX) {
        return vmbi_fail(err, VMB_E_ARG, "key \"%.64s%s\": empty or longer than 1024 bytes", key,
                         len > 64 ? "..." : "");
    }
    if (key[0] == '/') {
        return vmbi_fail(err, VMB_E_ARG, "key \"%s\": starts with \"/\"", key);
    }
    if (!vmbi_utf8_valid(key, len)) {
        return vmbi_fail(err, VMB_E_ARG, "key: not UTF-8");
    }
    return VMB_OK;
}

/* Puts the bucket in front of the endpoint's host. */
static void add_virtual_host(vmbi_buf *base, const char *endpoint, const char *bucket)
{
    const char *host = strstr(endpoint, "://") + 3;

    vmbi_buf_add(base, endpoint, (size_t)(host - endpoint));
    vmbi_buf_addf(base, "%s.%s", bucket, host);
}

vmb_code vmbi_s3_address(const vmbi_s3 *s, const char *region, const char *key, bool use_public,
                         vmbi_buf *base, vmbi_buf *path, vmb_error **err)
{
    const vmbi_s3_config *c = &s->config;
    const bool other = use_public && c->public_endpoint;
    const char *endpoint = other ? c->public_endpoint : c->endpoint;
    vmbi_buf aws = VMBI_BUF_INIT(512);
    vmb_code code = VMB_OK;

    if (!endpoint) {
        vmbi_buf_addf(&aws, "https://s3.%s.amazonaws.com%s", region,
                      vmbi_starts_with(region, "cn-") ? ".cn" : "");
        code = vmbi_buf_check(&aws, err, "endpoint");
        if (code != VMB_OK) {
            return code;
        }
        endpoint = aws.data;
    }
    if (c->path_style) {
        vmbi_buf_adds(base, endpoint);
    } else {
        add_virtual_host(base, endpoint, c->bucket);
    }
    vmbi_buf_adds(path, other ? c->public_base_path : c->base_path);
    vmbi_buf_addc(path, '/');
    if (c->path_style) {
        vmbi_url_encode(path, c->bucket, strlen(c->bucket), NULL);
        if (key) {
            vmbi_buf_addc(path, '/');
        }
    }
    if (key) {
        vmbi_url_encode(path, key, strlen(key), "/");
    }
    vmbi_buf_free(&aws);
    code = vmbi_buf_check(base, err, "endpoint");
    return code == VMB_OK ? vmbi_buf_check(path, err, "path") : code;
}
