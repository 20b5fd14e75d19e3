/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/yaml_scalar.h"

#include <string.h>

#include "base/error.h"

typedef enum kind { STRING, NULL_VALUE, TRUE_VALUE, FALSE_VALUE, NO_NUMBER, INTEGER, REAL } kind;

typedef struct word {
    const char *text;
    kind kind;
} word;

static const word words[] = {
    {"", NULL_VALUE},       {"~", NULL_VALUE},      {"null", NULL_VALUE},   {"Null", NULL_VALUE},
    {"NULL", NULL_VALUE},   {"true", TRUE_VALUE},   {"True", TRUE_VALUE},   {"TRUE", TRUE_VALUE},
    {"yes", TRUE_VALUE},    {"Yes", TRUE_VALUE},    {"YES", TRUE_VALUE},    {"y", TRUE_VALUE},
    {"Y", TRUE_VALUE},      {"on", TRUE_VALUE},     {"On", TRUE_VALUE},     {"ON", TRUE_VALUE},
    {"false", FALSE_VALUE}, {"False", FALSE_VALUE}, {"FALSE", FALSE_VALUE}, {"no", FALSE_VALUE},
    {"No", FALSE_VALUE},    {"NO", FALSE_VALUE},    {"n", FALSE_VALUE},     {"N", FALSE_VALUE},
    {"off", FALSE_VALUE},   {"Off", FALSE_VALUE},   {"OFF", FALSE_VALUE},   {".inf", NO_NUMBER},
    {".Inf", NO_NUMBER},    {".INF", NO_NUMBER},    {"+.inf", NO_NUMBER},   {"+.Inf", NO_NUMBER},
    {"+.INF", NO_NUMBER},   {"-.inf", NO_NUMBER},   {"-.Inf", NO_NUMBER},   {"-.INF", NO_NUMBER},
    {".nan", NO_NUMBER},    {".NaN", NO_NUMBER},    {".NAN", NO_NUMBER},
};

enum { MAX_WORD = 5, MAX_NUMBER = 400 };

static kind find_word(const char *s, size_t len)
{
    for (size_t i = 0; len <= MAX_WORD && i < VMBI_ARRAY_LEN(words); i++) {
        if (strlen(words[i].text) == len && memcmp(words[i].text, s, len) == 0) {
            return words[i].kind;
        }
    }
    return STRING;
}

static int digit_value(char c)
{
    if (vmbi_is_digit(c)) {
        return c - '0';
    }
    c = vmbi_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* 0x, 0o, 0b or a leading 0 (octal) in front of at least one digit; the rest is decimal. */
static unsigned take_base(const char **s, size_t *len)
{
    if (*len < 2 || (*s)[0] != '0') {
        return 10;
    }
    char c = vmbi_lower((*s)[1]);
    unsigned base = c == 'x' ? 16 : c == 'o' || vmbi_is_digit(c) ? 8 : c == 'b' ? 2 : 10;
    size_t skip = c == 'x' || c == 'o' || c == 'b' ? 2 : 1;

    if (base != 10) {
        *s += skip;
        *len -= skip;
    }
    return base;
}

/* Integers as Go's strconv reads them with base 0. */
static bool parse_integer(const char *s, size_t len, int64_t *out)
{
    bool negative = len > 0 && s[0] == '-';
    uint64_t v = 0;

    if (len > 0 && (s[0] == '-' || s[0] == '+')) {
        s++;
        len--;
    }
    unsigned base = take_base(&s, &len);
    if (len == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned d = (unsigned)digit_value(s[i]);

        if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
            __builtin_add_overflow(v, (uint64_t)d, &v)) {
            return false;
        }
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static size_t copy_digits(const char *s, size_t len, char *out)
{
    size_t n = 0;

    while (n < len && vmbi_is_digit(s[n])) {
        out[n] = s[n];
        n++;
    }
    return n;
}

/* Rewrites "[-+]digits[.digits][e[-+]digits]" (a part before or after the point may be missing) as
 * a JSON number; 0 when it is something else. out has room for len + 8 bytes. */
static size_t json_number(const char *s, size_t len, char *out)
{
    const char *end = s + len;
    char *o = out;
    size_t whole, frac = 0;

    if (s < end && (*s == '-' || *s == '+')) {
        if (*s == '-') {
            *o++ = '-';
        }
        s++;
    }
    while (end - s > 1 && s[0] == '0' && vmbi_is_digit(s[1])) {
        s++;
    }
    whole = copy_digits(s, (size_t)(end - s), o);
    s += whole;
    o += whole;
    if (whole == 0) {
        *o++ = '0';
    }
    *o++ = '.';
    if (s < end && *s == '.') {
        s++;
        frac = copy_digits(s, (size_t)(end - s), o);
        s += frac;
        o += frac;
    }
    *o++ = '0';
    if (whole + frac == 0) {
        return 0;
    }
    if (s < end && (*s == 'e' || *s == 'E')) {
        *o++ = *s++;
        if (s < end && (*s == '-' || *s == '+')) {
            *o++ = *s++;
        }
        size_t n = copy_digits(s, (size_t)(end - s), o);
        if (n == 0) {
            return 0;
        }
        s += n;
        o += n;
    }
    return s == end ? (size_t)(o - out) : 0;
}

/* Numbers: underscores count for nothing; behind a leading point they must stand between digits, as
 * in Go. A real without fraction becomes an integer, since it would print as one. */
static kind parse_number(const char *s, size_t len, int64_t *integer, double *real)
{
    char plain[MAX_NUMBER + 8], json[MAX_NUMBER + 16];
    size_t n = 0;
    vmbi_json *v = NULL;

    if (len == 0 || len > MAX_NUMBER || !(vmbi_is_digit(s[0]) || strchr("+-.", s[0]) != NULL)) {
        return STRING;
    }
    for (size_t i = 0; i < len; i++) {
        bool between = i > 0 && i + 1 < len && vmbi_is_digit(s[i - 1]) && vmbi_is_digit(s[i + 1]);

        if (s[i] != '_' || (s[0] == '.' && !between)) {
            plain[n++] = s[i];
        }
    }
    if (parse_integer(plain, n, integer)) {
        return INTEGER;
    }
    n = json_number(plain, n, json);
    if (n == 0 || vmbi_json_parse(json, n, "number", &v, NULL) != VMB_OK) {
        return STRING; /* one beyond all reals is a string to Go, too */
    }
    *real = vmbi_json_real(v, 0);
    vmbi_json_free(v);
    if (*real >= -9007199254740992.0 && *real <= 9007199254740992.0 &&
        (double)(int64_t)*real == *real) {
        *integer = (int64_t)*real;
        return INTEGER;
    }
    return REAL;
}

static kind classify(const char *s, size_t len, int64_t *integer, double *real)
{
    kind k = find_word(s, len);

    return k != STRING ? k : parse_number(s, len, integer, real);
}

static vmb_code make_string(const char *s, size_t len, vmbi_json **out, vmb_error **err)
{
    vmbi_json *v;

    if (memchr(s, '\0', len) != NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "a string must not contain a NUL character");
    }
    if (!vmbi_utf8_valid(s, len)) {
        return vmbi_fail(err, VMB_E_INVALID, "a string must be valid UTF-8");
    }
    v = vmbi_json_stringn(s, len);
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    *out = v;
    return VMB_OK;
}

static vmb_code resolve(const char *s, size_t len, vmbi_json **out, vmb_error **err)
{
    int64_t integer = 0;
    double real = 0;
    vmbi_json *v = NULL;

    switch (classify(s, len, &integer, &real)) {
    case STRING:
        return make_string(s, len, out, err);
    case NO_NUMBER:
        return vmbi_fail(err, VMB_E_INVALID, "infinity and not-a-number cannot be stored");
    case NULL_VALUE:
        v = vmbi_json_null();
        break;
    case TRUE_VALUE:
    case FALSE_VALUE:
        v = vmbi_json_boolean(find_word(s, len) == TRUE_VALUE);
        break;
    case INTEGER:
        v = vmbi_json_integer(integer);
        break;
    case REAL:
        v = vmbi_json_from_double(real);
        break;
    }
    if (v == NULL) {
        return vmbi_fail_nomem(err);
    }
    *out = v;
    return VMB_OK;
}

typedef enum tag {
    TAG_NONE,
    TAG_BARE, /* "!": a scalar is a string, whatever it looks like */
    TAG_STR,
    TAG_INT,
    TAG_FLOAT,
    TAG_BOOL,
    TAG_NULL,
    TAG_MAP,
    TAG_SEQ,
    TAG_OTHER
} tag;

static tag tag_of(const char *s)
{
    static const char *const names[] = {
        [TAG_STR] = "str",   [TAG_INT] = "int", [TAG_FLOAT] = "float", [TAG_BOOL] = "bool",
        [TAG_NULL] = "null", [TAG_MAP] = "map", [TAG_SEQ] = "seq",
    };
    static const char prefix[] = "tag:yaml.org,2002:";

    if (s == NULL) {
        return TAG_NONE;
    }
    if (strcmp(s, "!") == 0) {
        return TAG_BARE;
    }
    if (!vmbi_starts_with(s, prefix)) {
        return TAG_OTHER;
    }
    s += sizeof(prefix) - 1;
    if (strcmp(s, "timestamp") == 0) {
        return TAG_STR; /* points in time stay strings */
    }
    for (size_t i = TAG_STR; i < VMBI_ARRAY_LEN(names); i++) {
        if (strcmp(s, names[i]) == 0) {
            return (tag)i;
        }
    }
    return TAG_OTHER;
}

bool vmbi_yaml_tag_fits_collection(const char *text, bool sequence)
{
    tag t = tag_of(text);

    return t == TAG_NONE || t == TAG_BARE || t == (sequence ? TAG_SEQ : TAG_MAP);
}

static bool tag_fits(tag t, const vmbi_json *v)
{
    switch (t) {
    case TAG_INT:
        return vmbi_json_is_int(v);
    case TAG_FLOAT:
        return vmbi_json_is_int(v) || vmbi_json_is_real(v);
    case TAG_BOOL:
        return vmbi_json_is_bool(v);
    case TAG_NULL:
        return vmbi_json_is_null(v);
    case TAG_NONE:
    case TAG_BARE:
    case TAG_STR:
        return true;
    case TAG_MAP:
    case TAG_SEQ:
    case TAG_OTHER:
        break;
    }
    return false;
}

vmb_code vmbi_yaml_scalar(const char *tag_text, bool plain, const char *s, size_t len,
                          vmbi_json **out, vmb_error **err)
{
    tag t = tag_of(tag_text);
    vmbi_json *v = NULL;
    vmb_code code;

    if (t == TAG_OTHER || t == TAG_MAP || t == TAG_SEQ) {
        return vmbi_fail(err, VMB_E_INVALID, "this tag is not supported");
    }
    if (t == TAG_STR || t == TAG_BARE || (t == TAG_NONE && !plain)) {
        return make_string(s, len, out, err);
    }
    code = resolve(s, len, &v, err);
    if (code != VMB_OK) {
        return code;
    }
    if (!tag_fits(t, v)) {
        vmbi_json_free(v);
        return vmbi_fail(err, VMB_E_INVALID, "the value does not fit its tag");
    }
    *out = v;
    return VMB_OK;
}
