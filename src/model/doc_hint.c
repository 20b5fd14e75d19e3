/* SPDX-License-Identifier: Apache-2.0 */
#include "model/doc_hint.h"

#include <string.h>

#include "base/strs.h"

enum { NOTES_MAX = 20, LINES_BACK = 4 };

typedef struct text_line {
    const char *p;   /* first byte that is not white space */
    const char *end; /* behind the last one */
    size_t indent;
    bool tab; /* white space before p holds a tab */
} text_line;

/* Line `number` (from 1) without white space around it; false when there is none. */
static bool get_line(const char *text, size_t len, int number, text_line *out)
{
    const char *p = text;
    const char *end = text + len;

    for (int i = 1; i < number; i++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));

        if (nl == NULL) {
            return false;
        }
        p = nl + 1;
    }
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    const char *stop = nl != NULL ? nl : end;
    *out = (text_line){.p = p};
    while (out->p < stop && vmbi_is_space(*out->p)) {
        out->tab = out->tab || *out->p == '\t';
        out->p++;
    }
    out->indent = (size_t)(out->p - p);
    while (stop > out->p && vmbi_is_space(stop[-1])) {
        stop--;
    }
    out->end = stop;
    return true;
}

static bool is_blank(const text_line *l)
{
    return l->p == l->end || *l->p == '#';
}

/* The nearest line before `number` that says something; its number, or 0. */
static int line_before(const char *text, size_t len, int number, text_line *out)
{
    for (int i = number - 1; i > 0 && i >= number - LINES_BACK; i--) {
        if (get_line(text, len, i, out) && !is_blank(out)) {
            return i;
        }
    }
    return 0;
}

static bool ends_with(const text_line *l, const char *end, const char *suffix)
{
    size_t n = strlen(suffix);

    return (size_t)(end - l->p) >= n && memcmp(end - n, suffix, n) == 0;
}

/* Start of the number that ends the line after a blank ("[] 2", "labelSelector: 5"); NULL. */
static const char *trailing_number(const text_line *l)
{
    const char *p = l->end;

    while (p > l->p && vmbi_is_digit(p[-1])) {
        p--;
    }
    if (p == l->end || l->end - p > 2 || p == l->p || p[-1] != ' ') {
        return NULL;
    }
    return p;
}

static const char *without_number(const text_line *l)
{
    const char *p = trailing_number(l);

    p = p != NULL ? p : l->end;
    while (p > l->p && p[-1] == ' ') {
        p--;
    }
    return p;
}

#define HINT_CLOSED                                                                                \
    "a list that begins with '[]' is closed already and empty: delete the '[]' when items "        \
    "follow below it (\"includedResources:\" and then \"- pods\")"
#define HINT_CALLOUT                                                                               \
    "the number at the end of the line looks like a callout of a documentation page: delete it"
#define HINT_TAB "YAML does not allow tabs for indentation: use blanks"
#define HINT_DOTS "\"...\" stands for text that was left out: delete the line or fill it in"
#define HINT_COLON "a blank is missing after ':', or the lines are indented differently"

static const char *hint_for_line(const char *text, size_t len, int line)
{
    text_line here;
    text_line before;

    if (!get_line(text, len, line, &here)) {
        return NULL;
    }
    if (here.tab) {
        return HINT_TAB;
    }
    if (here.end - here.p >= 3 && memcmp(here.p, "...", 3) == 0 && here.indent > 0) {
        return HINT_DOTS;
    }
    if (trailing_number(&here) != NULL && ends_with(&here, without_number(&here), "[]")) {
        return HINT_CALLOUT;
    }
    if (line_before(text, len, line, &before) == 0) {
        return NULL;
    }
    if (ends_with(&before, without_number(&before), "[]")) {
        return trailing_number(&before) != NULL ? HINT_CALLOUT : HINT_CLOSED;
    }
    if (trailing_number(&before) != NULL && ends_with(&before, without_number(&before), ":") &&
        (here.indent > before.indent || here.p < here.end)) {
        return HINT_CALLOUT;
    }
    if (before.tab) {
        return HINT_TAB;
    }
    return NULL;
}

const char *vmbi_backup_doc_hint(const char *text, size_t len, int line, int column,
                                 const char *problem)
{
    const char *hint = NULL;

    (void)column;
    /* The parser may report the line after the one that is wrong. */
    for (int back = 0; back <= 2 && hint == NULL && line - back > 0; back++) {
        hint = hint_for_line(text, len, line - back);
    }
    if (hint == NULL && problem != NULL && strstr(problem, "could not find expected ':'") != NULL) {
        hint = HINT_COLON;
    }
    return hint;
}

/* ---- characters ---------------------------------------------------------------------------- */

typedef struct look_alike {
    const char *bytes;
    const char *name;
    const char *remedy;
} look_alike;

static const look_alike look_alikes[] = {
    {"\xC2\xA0", "a no-break space (U+00A0)", "replace it by a plain blank"},
    {"\xE3\x80\x80", "an ideographic space (U+3000)", "replace it by a plain blank"},
    {"\xE2\x80\x8B", "a zero-width space (U+200B)", "delete it"},
    {"\xEF\xBC\x9A", "a full-width colon (U+FF1A)", "replace it by a plain ':'"},
    {"\xE2\x80\x9C", "a curly quote (U+201C)", "replace it by a plain '\"'"},
    {"\xE2\x80\x9D", "a curly quote (U+201D)", "replace it by a plain '\"'"},
    {"\xE2\x80\x93", "an en dash (U+2013)", "replace it by a plain '-'"},
};

void vmbi_backup_doc_notes(const char *text, size_t len, vmbi_problems *notes)
{
    const char *end = text + len;
    int line = 1;
    int column = 0;
    int found = 0;

    for (const char *p = text; p < end && found < NOTES_MAX; p++) {
        column += ((uint8_t)*p & 0xC0) != 0x80 ? 1 : 0;
        if (*p == '\n') {
            line++;
            column = 0;
        }
        if ((uint8_t)*p < 0xC0) {
            continue;
        }
        for (size_t i = 0; i < VMBI_ARRAY_LEN(look_alikes); i++) {
            size_t n = strlen(look_alikes[i].bytes);

            if ((size_t)(end - p) >= n && memcmp(p, look_alikes[i].bytes, n) == 0) {
                vmbi_problems_add_at(notes, false, line, column, "", look_alikes[i].remedy,
                                     "%s, which YAML takes for a letter", look_alikes[i].name);
                found++;
            }
        }
    }
}

const char *vmbi_value_hint(const char *value)
{
    size_t len = strlen(value);
    text_line l = {.p = value, .end = value + len};
    const char *open = strchr(value, '<');

    if (open != NULL && strchr(open, '>') != NULL) {
        return "replace the placeholder \"<…>\" by a value of your own";
    }
    if (trailing_number(&l) != NULL) {
        return "the number at the end looks like a callout of a documentation page: delete it";
    }
    return NULL;
}
