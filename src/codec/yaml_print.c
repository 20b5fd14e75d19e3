/* SPDX-License-Identifier: Apache-2.0 */
/* Block YAML, laid out as kubectl prints it: sorted keys, two spaces, list items in the column of
 * their key. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"
#include "codec/yaml.h"
#include "codec/yaml_scalar.h"

enum { MAX_PRINT_DEPTH = 2 * VMBI_JSON_MAX_DEPTH };

typedef struct printer {
    vmbi_buf *out;
    vmb_error **err;
    vmb_code code;
} printer;

static void print_value(printer *p, const vmbi_json *v, unsigned indent, unsigned depth);

static void put_indent(printer *p, unsigned indent)
{
    for (unsigned i = 0; i < indent; i++) {
        vmbi_buf_addc(p->out, ' ');
    }
}

/* Strings. */

static bool has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        /* C1 controls, NEL, and the separators U+2028/9 and U+FEFF are written as escapes, too */
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) ||
            (c == 0xe2 && memcmp(s + i, "\xe2\x80\xa8", 3) == 0) ||
            (c == 0xe2 && memcmp(s + i, "\xe2\x80\xa9", 3) == 0) ||
            (c == 0xef &&
             (memcmp(s + i, "\xef\xbb\xbf", 3) == 0 || (unsigned char)s[i + 1] >= 0xbf))) {
            return true;
        }
    }
    return false;
}

/* May it stand without quotes and still be a string? */
static bool is_plain(const char *s, size_t len)
{
    if (len == 0 || strchr("-?:,[]{}#&*!|>'\"%@`=<~ ", s[0]) != NULL || s[len - 1] == ' ' ||
        s[len - 1] == ':' || strstr(s, ": ") != NULL || strstr(s, " #") != NULL ||
        vmbi_starts_with(s, "...") || vmbi_yaml_is_typed(s, len)) {
        return false;
    }
    /* what other readers take for numbers or times: sexagesimal "1:30", dates, "1_0" */
    if ((vmbi_is_digit(s[0]) || s[0] == '.' || s[0] == '+') &&
        strspn(s, "0123456789:._-+eETtZ ") == len) {
        return false;
    }
    return true;
}

/* Several lines may stand as they are in a literal block when no line needs an escape. */
static bool is_block(const char *s, size_t len)
{
    if (memchr(s, '\n', len) == NULL || s[0] == ' ' || s[0] == '\n') {
        return false;
    }
    for (const char *p = s; *p != '\0';) {
        size_t n = strcspn(p, "\n");

        if (has_control(p, n) || (n > 0 && p[n - 1] == ' ')) {
            return false;
        }
        p += n + (p[n] == '\n' ? 1 : 0);
    }
    return true;
}

static void print_block(printer *p, const char *s, size_t len, unsigned indent)
{
    bool ends = s[len - 1] == '\n';

    vmbi_buf_adds(p->out, !ends ? "|-" : len > 1 && s[len - 2] == '\n' ? "|+" : "|");
    while (*s != '\0') {
        size_t n = strcspn(s, "\n");

        vmbi_buf_addc(p->out, '\n');
        if (n > 0) {
            put_indent(p, indent);
            vmbi_buf_add(p->out, s, n);
        }
        s += n + (s[n] == '\n' ? 1 : 0);
    }
}

/* The escapes that JSON has are YAML's, too. Characters beyond ASCII that are no text get \u. */
static void print_double(printer *p, const char *s, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    vmbi_buf_addc(p->out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        unsigned code = 0;

        if (c == '"' || c == '\\') {
            vmbi_buf_addc(p->out, '\\');
            vmbi_buf_addc(p->out, (char)c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            vmbi_buf_addc(p->out, '\\');
            vmbi_buf_addc(p->out, c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        } else if (c < 0x20 || c == 0x7f) {
            code = c;
        } else if (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) {
            code = (unsigned char)s[++i];
        } else if ((c == 0xe2 || c == 0xef) && has_control(s + i, 3)) {
            code = (c & 15U) << 12 | ((unsigned char)s[i + 1] & 63U) << 6 |
                   ((unsigned char)s[i + 2] & 63U);
            i += 2;
        } else {
            vmbi_buf_addc(p->out, (char)c);
        }
        if (code != 0) {
            char esc[6] = {
                '\\',          'u', hex[code >> 12], hex[code >> 8 & 15], hex[code >> 4 & 15],
                hex[code & 15]};
            vmbi_buf_add(p->out, esc, sizeof(esc));
        }
    }
    vmbi_buf_addc(p->out, '"');
}

static void print_single(printer *p, const char *s)
{
    vmbi_buf_addc(p->out, '\'');
    for (; *s != '\0'; s++) {
        vmbi_buf_addc(p->out, *s);
        if (*s == '\'') {
            vmbi_buf_addc(p->out, '\'');
        }
    }
    vmbi_buf_addc(p->out, '\'');
}

static void print_string(printer *p, const char *s, size_t len, unsigned indent, bool key)
{
    if (!key && is_block(s, len)) {
        print_block(p, s, len, indent == 0 ? 2 : indent);
    } else if (has_control(s, len)) {
        print_double(p, s, len);
    } else if (is_plain(s, len)) {
        vmbi_buf_add(p->out, s, len);
    } else if (len == 0 || vmbi_yaml_is_typed(s, len)) {
        print_double(p, s, len);
    } else {
        print_single(p, s);
    }
}

/* Collections. */

static int compare(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;

    return strcmp(*x, *y);
}

static bool is_filled(const vmbi_json *v)
{
    return vmbi_json_len(v) > 0;
}

/* The cursor stands where the first key goes (perhaps behind "- "). */
static void print_object(printer *p, const vmbi_json *v, unsigned indent, unsigned depth)
{
    size_t count = vmbi_json_len(v);
    size_t n = 0;
    const char **keys = vmbi_alloc_array(count, sizeof(*keys));

    if (keys == NULL) {
        p->code = vmbi_fail_nomem(p->err);
        return;
    }
    for (void *it = vmbi_json_iter(v); it != NULL; it = vmbi_json_iter_next(v, it)) {
        keys[n++] = vmbi_json_iter_key(it);
    }
    qsort(keys, n, sizeof(*keys), compare);
    for (size_t i = 0; i < n && p->code == VMB_OK; i++) {
        const vmbi_json *child = vmbi_json_get(v, keys[i]);

        if (i > 0) {
            put_indent(p, indent);
        }
        print_string(p, keys[i], strlen(keys[i]), indent, true);
        vmbi_buf_addc(p->out, ':');
        if (is_filled(child)) {
            /* a list stands in the column of its key, an object two columns further */
            unsigned inner = indent + (vmbi_json_is_object(child) ? 2 : 0);

            vmbi_buf_addc(p->out, '\n');
            put_indent(p, inner);
            print_value(p, child, inner, depth + 1);
        } else {
            vmbi_buf_addc(p->out, ' ');
            print_value(p, child, indent + 2, depth + 1);
        }
    }
    vmbi_free(keys);
}

static void print_array(printer *p, const vmbi_json *v, unsigned indent, unsigned depth)
{
    for (size_t i = 0; i < vmbi_json_len(v) && p->code == VMB_OK; i++) {
        if (i > 0) {
            put_indent(p, indent);
        }
        vmbi_buf_adds(p->out, "- ");
        print_value(p, vmbi_json_at(v, i), indent + 2, depth + 1);
    }
}

/* Prints from the cursor on; every value ends with its line. */
static void print_value(printer *p, const vmbi_json *v, unsigned indent, unsigned depth)
{
    if (depth >= MAX_PRINT_DEPTH) {
        p->code = vmbi_fail(p->err, VMB_E_LIMIT, "yaml text: nested too deeply");
        return;
    }
    if (vmbi_json_is_object(v) && is_filled(v)) {
        print_object(p, v, indent, depth);
        return;
    }
    if (vmbi_json_is_array(v) && is_filled(v)) {
        print_array(p, v, indent, depth);
        return;
    }
    if (vmbi_json_is_string(v)) {
        print_string(p, vmbi_json_str(v), vmbi_json_str_len(v), indent, false);
    } else {
        p->code = vmbi_json_print(v, p->out, p->err); /* scalars, {} and [] are the same in both */
    }
    vmbi_buf_addc(p->out, '\n');
}

vmb_code vmbi_yaml_print(const vmbi_json *v, vmbi_buf *out, vmb_error **err)
{
    printer p = {out, err, VMB_OK};

    print_value(&p, v, 0, 0);
    return p.code != VMB_OK ? p.code : vmbi_buf_check(out, err, "yaml text");
}
