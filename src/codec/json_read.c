/* SPDX-License-Identifier: Apache-2.0 */
/* Well-formed JSON to a tree of jansson's. Its own parser is asked for messages only: when memory
 * is short while it collects a token (load.c of 2.14, lex_save), it loses the byte and goes on. A
 * string then lacks a character, or is read past its end. Here every failure is seen. */
#include "codec/json_read.h"

#include <jansson.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strs.h"
#include "codec/jscan.h"
#include "codec/jscan_text.h"

typedef struct reader {
    const char *p;
    const char *end;
    char *scratch; /* the last string that had escapes, or the last key */
    size_t size;
    vmb_code code; /* why a value is NULL */
} reader;

static json_t *read_value(reader *r);

static json_t *stop(reader *r, vmb_code code)
{
    if (r->code == VMB_OK) {
        r->code = code;
    }
    return NULL;
}

/* A value that was just made, or lack of memory. */
static json_t *made(reader *r, json_t *v)
{
    return v != NULL ? v : stop(r, VMB_E_NOMEM);
}

static void skip_space(reader *r)
{
    while (r->p < r->end && vmbi_is_space(*r->p)) {
        r->p++;
    }
}

/* Passes a byte, white space before it included. */
static bool take(reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c) {
        return false;
    }
    r->p++;
    return true;
}

static bool room(reader *r, size_t n)
{
    if (n > r->size) {
        size_t size = n > SIZE_MAX / 2 ? n : n * 2;
        char *more = vmbi_realloc_array(r->scratch, size, 1);
        if (more == NULL) {
            (void)stop(r, VMB_E_NOMEM);
            return false;
        }
        r->scratch = more;
        r->size = size;
    }
    return true;
}

/* A string, quotes included; p NULL when it is none. */
static vmbi_slice raw_string(reader *r, bool *plain)
{
    vmbi_slice s = {NULL, 0};
    const char *from;

    skip_space(r);
    from = r->p;
    if (from == r->end || *from != '"') {
        return s;
    }
    *plain = true;
    for (const char *p = from + 1;; p += 2) {
        p = vmbi_jscan_plain(p, r->end);
        if (p < r->end && *p == '"') {
            r->p = p + 1;
            s.p = from;
            s.len = (size_t)(r->p - from);
            return s;
        }
        if (r->end - p < 2 || *p != '\\') {
            return s;
        }
        *plain = false;
    }
}

/* Decodes into the scratch, NUL-terminated. */
static bool decode(reader *r, vmbi_slice raw)
{
    if (!room(r, raw.len)) {
        return false;
    }
    if (!vmbi_jscan_string(raw, r->scratch, raw.len)) {
        (void)stop(r, VMB_E_PARSE);
        return false;
    }
    return true;
}

static json_t *read_string(reader *r)
{
    bool plain = false;
    vmbi_slice raw = raw_string(r, &plain);

    if (raw.p == NULL) {
        return stop(r, VMB_E_PARSE);
    }
    if (plain) {
        return vmbi_utf8_valid(raw.p + 1, raw.len - 2)
                   ? made(r, json_stringn_nocheck(raw.p + 1, raw.len - 2))
                   : stop(r, VMB_E_PARSE);
    }
    return decode(r, raw) ? made(r, json_string_nocheck(r->scratch)) : NULL;
}

static const char *pass_digits(const char *p, const char *end)
{
    while (p < end && vmbi_is_digit(*p)) {
        p++;
    }
    return p;
}

/* End of the number at p; NULL when it is none. */
static const char *pass_number(const char *p, const char *end, bool *real)
{
    const char *from;

    p += p < end && *p == '-' ? 1 : 0;
    from = p;
    p = pass_digits(p, end);
    if (p == from || (*from == '0' && p - from > 1)) {
        return NULL;
    }
    *real = false;
    if (p < end && *p == '.') {
        from = p + 1;
        p = pass_digits(from, end);
        *real = true;
    }
    if (p > from && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-') ? 1 : 0;
        from = p;
        p = pass_digits(from, end);
        *real = true;
    }
    return p > from ? p : NULL;
}

/* jansson's reading does not depend on the locale. It may lose a digit of a long number, but not
 * the same one twice with memory to go on. */
static json_t *read_real(reader *r, const char *from, const char *to)
{
    json_error_t e = {0};
    json_t *a = json_loadb(from, (size_t)(to - from), JSON_DECODE_ANY, &e);
    json_t *b = json_loadb(from, (size_t)(to - from), JSON_DECODE_ANY, &e);
    bool same = json_is_real(a) && json_equal(a, b);
    bool wrong = e.text[0] != '\0' && json_error_code(&e) != json_error_out_of_memory;

    json_decref(b);
    if (!same) {
        json_decref(a);
        return stop(r, wrong ? VMB_E_PARSE : VMB_E_NOMEM);
    }
    return a;
}

static json_t *read_number(reader *r)
{
    const char *from = r->p;
    bool real = false;
    const char *to = pass_number(from, r->end, &real);
    int64_t i;

    if (to == NULL) {
        return stop(r, VMB_E_PARSE);
    }
    r->p = to;
    if (real) {
        return read_real(r, from, to);
    }
    return vmbi_parse_i64(from, (size_t)(to - from), &i) ? made(r, json_integer(i))
                                                         : stop(r, VMB_E_PARSE);
}

static json_t *read_word(reader *r)
{
    static const struct {
        const char *word;
        json_t *(*make)(void);
    } words[] = {{"true", json_true}, {"false", json_false}, {"null", json_null}};

    for (size_t i = 0; i < VMBI_ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(r->end - r->p) >= n && memcmp(r->p, words[i].word, n) == 0) {
            r->p += n;
            return words[i].make();
        }
    }
    return stop(r, VMB_E_PARSE);
}

static json_t *read_array(reader *r)
{
    json_t *array = made(r, json_array());

    r->p++;
    if (array == NULL || take(r, ']')) {
        return array;
    }
    do {
        json_t *v = read_value(r);
        if (v != NULL && json_array_append_new(array, v) != 0) {
            (void)stop(r, VMB_E_NOMEM);
        }
    } while (r->code == VMB_OK && take(r, ','));
    if (r->code != VMB_OK || !take(r, ']')) {
        json_decref(array);
        return stop(r, VMB_E_PARSE);
    }
    return array;
}

/* One member; a key that is there already is left to jansson, too. */
static void read_member(reader *r, json_t *object)
{
    bool plain;
    vmbi_slice raw = raw_string(r, &plain);
    char *key;
    json_t *v;

    if (raw.p == NULL || !decode(r, raw) || !take(r, ':') ||
        json_object_get(object, r->scratch) != NULL) {
        (void)stop(r, VMB_E_PARSE);
        return;
    }
    key = vmbi_steal(&r->scratch); /* the value needs a scratch of its own */
    size_t size = r->size;
    r->size = 0;
    v = read_value(r);
    if (v != NULL && json_object_set_new_nocheck(object, key, v) != 0) {
        (void)stop(r, VMB_E_NOMEM);
    }
    vmbi_free(r->scratch);
    r->scratch = key;
    r->size = size;
}

static json_t *read_object(reader *r)
{
    json_t *object = made(r, json_object());

    r->p++;
    if (object == NULL || take(r, '}')) {
        return object;
    }
    do {
        read_member(r, object);
    } while (r->code == VMB_OK && take(r, ','));
    if (r->code != VMB_OK || !take(r, '}')) {
        json_decref(object);
        return stop(r, VMB_E_PARSE);
    }
    return object;
}

static json_t *read_value(reader *r)
{
    skip_space(r);
    if (r->p == r->end) {
        return stop(r, VMB_E_PARSE);
    }
    switch (*r->p) {
    case '{':
        return read_object(r);
    case '[':
        return read_array(r);
    case '"':
        return read_string(r);
    case 't':
    case 'f':
    case 'n':
        return read_word(r);
    default:
        return read_number(r);
    }
}

vmb_code vmbi_json_read(const char *text, size_t len, vmbi_json **out)
{
    reader r = {.p = text, .end = text + len};
    json_t *v = read_value(&r);

    skip_space(&r);
    vmbi_free(r.scratch);
    if (v == NULL || r.p != r.end) {
        json_decref(v);
        return r.code != VMB_OK ? r.code : VMB_E_PARSE;
    }
    *out = v;
    return VMB_OK;
}
