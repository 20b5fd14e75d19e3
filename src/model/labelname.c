/* SPDX-License-Identifier: Apache-2.0 */
#include "model/labelname.h"

#include <string.h>

#include "base/strs.h"
#include "codec/digest.h"

enum {
    LABEL_MAX = 63,      /* a label value, the name part of a key, a DNS label */
    SUBDOMAIN_MAX = 253, /* the prefix part of a key, most object names */
    HASHED_PREFIX = 57   /* bytes that Velero keeps of a name that is too long */
};

void vmbi_label_valid_name(const char *name, char out[VMBI_LABEL_NAME_SIZE])
{
    size_t len = strlen(name);
    uint8_t sum[32];
    char hex[65];

    if (len <= LABEL_MAX) {
        memcpy(out, name, len + 1);
        return;
    }
    vmbi_sha256(name, len, sum);
    vmbi_hex(sum, sizeof(sum), hex);
    memcpy(out, name, HASHED_PREFIX);
    memcpy(out + HASHED_PREFIX, hex, LABEL_MAX - HASHED_PREFIX);
    out[LABEL_MAX] = '\0';
}

static bool is_name_byte(char c)
{
    return vmbi_is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static bool say(const char **why, const char *reason)
{
    if (why != NULL) {
        *why = reason;
    }
    return false;
}

/* The alphabet that label values and the name part of keys share; not empty. */
static bool is_qualified_part(const char *s, size_t len, const char **why)
{
    if (len > LABEL_MAX) {
        return say(why, "must be no more than 63 bytes");
    }
    if (!vmbi_is_alnum(s[0]) || !vmbi_is_alnum(s[len - 1])) {
        return say(why, "must start and end with a letter or digit");
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_name_byte(s[i])) {
            return say(why, "may hold only letters, digits, '-', '_' and '.'");
        }
    }
    return true;
}

bool vmbi_label_value_ok(const char *s, size_t len, const char **why)
{
    return len == 0 || is_qualified_part(s, len, why);
}

bool vmbi_label_key_ok(const char *s, size_t len, const char **why)
{
    const char *slash = memchr(s, '/', len);
    const char *name = s;
    size_t name_len = len;

    if (slash != NULL) {
        size_t prefix_len = (size_t)(slash - s);

        if (prefix_len == 0) {
            return say(why, "the prefix before '/' must not be empty");
        }
        if (!vmbi_dns_subdomain_ok(s, prefix_len)) {
            return say(why, "the prefix before '/' must be a lower-case DNS name");
        }
        name = slash + 1;
        name_len = len - prefix_len - 1;
        if (memchr(name, '/', name_len) != NULL) {
            return say(why, "must hold at most one '/'");
        }
    }
    if (name_len == 0) {
        return say(why, "the name must not be empty");
    }
    return is_qualified_part(name, name_len, why);
}

static bool is_dns_byte(char c)
{
    return vmbi_is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool dns_part_ok(const char *s, size_t len)
{
    if (len == 0 || !is_dns_byte(s[0]) || !is_dns_byte(s[len - 1])) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_dns_byte(s[i]) && s[i] != '-') {
            return false;
        }
    }
    return true;
}

bool vmbi_dns_label_ok(const char *s, size_t len)
{
    return len <= LABEL_MAX && dns_part_ok(s, len);
}

bool vmbi_dns_subdomain_ok(const char *s, size_t len)
{
    const char *p = s;
    const char *end = s + len;

    if (len == 0 || len > SUBDOMAIN_MAX) {
        return false;
    }
    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        const char *stop = dot != NULL ? dot : end;

        if (!dns_part_ok(p, (size_t)(stop - p))) {
            return false;
        }
        if (dot == NULL) {
            return true;
        }
        p = dot + 1;
    }
}
