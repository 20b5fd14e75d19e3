/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/page.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

enum { KIND_SIZE = 128, TOKEN_MAX_BYTES = 32 * 1024 };

static bool key_is(vmbi_slice key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.p, name, key.len) == 0;
}

static bool is_null(vmbi_slice v)
{
    return v.len == 4 && memcmp(v.p, "null", 4) == 0;
}

static vmb_code read_token(vmbi_slice metadata, const char *what, char **out, vmb_error **err)
{
    vmbi_slice raw;
    if (metadata.p == NULL || !vmbi_jscan_find(metadata.p, metadata.len, "continue", &raw) ||
        is_null(raw) || (raw.len == 2 && raw.p[0] == '"')) {
        return VMB_OK;
    }
    if (raw.len > TOKEN_MAX_BYTES) { /* it would not fit into a url */
        return vmbi_fail(err, VMB_E_LIMIT, "%s: the continue token has %zu bytes", what, raw.len);
    }
    char *token = vmbi_alloc(raw.len);
    if (token == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (!vmbi_jscan_string(raw, token, raw.len)) {
        vmbi_free(token);
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the continue token is no string", what);
    }
    *out = token;
    return VMB_OK;
}

vmb_code vmbi_kube_page_parse(const char *json, size_t len, const char *what, vmbi_kube_page *out,
                              vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice key;
    vmbi_slice value;
    vmbi_slice metadata = {NULL, 0};
    vmbi_kube_page page = {{NULL, 0}, NULL};
    char kind[KIND_SIZE] = "";
    bool is_list = false;
    int rc = vmbi_jscan_object(&s, json, len) ? 1 : -1;
    while (rc == 1 && (rc = vmbi_jscan_member(&s, &key, &value)) == 1) {
        if (key_is(key, "items")) {
            is_list = true;
            page.items = is_null(value) ? (vmbi_slice){NULL, 0} : value;
        } else if (key_is(key, "metadata")) {
            metadata = value;
        } else if (key_is(key, "kind") && !vmbi_jscan_string(value, kind, sizeof(kind))) {
            kind[0] = '\0';
        }
    }
    if (rc != 0) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is malformed JSON", what);
    }
    /* Go leaves an empty slice with omitempty out */
    if ((!is_list && !vmbi_ends_with(kind, "List")) ||
        (page.items.p != NULL && page.items.p[0] != '[')) {
        return vmbi_fail(err, VMB_E_PROTOCOL, "%s: the answer is no list but %s", what,
                         kind[0] != '\0' ? kind : "something without a kind");
    }
    vmb_code code = read_token(metadata, what, &page.continue_token, err);
    if (code == VMB_OK) {
        *out = page;
    }
    return code;
}

void vmbi_kube_page_done(vmbi_kube_page *page)
{
    vmbi_free(page->continue_token);
    *page = (vmbi_kube_page){{NULL, 0}, NULL};
}

vmb_code vmbi_kube_page_each(const vmbi_kube_page *page, const char *what, vmbi_kube_item_fn fn,
                             void *user, vmb_error **err)
{
    vmbi_jscan s;
    vmbi_slice item;
    int rc = 0;
    if (page->items.p == NULL) {
        return VMB_OK;
    }
    if (!vmbi_jscan_array(&s, page->items.p, page->items.len)) {
        return vmbi_fail(err, VMB_E_INTERNAL, "%s: items lost their bracket", what);
    }
    while ((rc = vmbi_jscan_element(&s, &item)) == 1) {
        if (item.p[0] != '{') {
            return vmbi_fail(err, VMB_E_PROTOCOL, "%s: an item is no object", what);
        }
        vmb_code code = fn(user, item.p, item.len, err);
        if (code != VMB_OK) {
            return code;
        }
    }
    return rc == 0 ? VMB_OK : vmbi_fail(err, VMB_E_PROTOCOL, "%s: malformed items", what);
}
