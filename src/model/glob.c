/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns become a small non-deterministic automaton that is run on all states at once, so that
 * no pattern can make matching slow. The grammar is that of gobwas/glob v0.2.3 (syntax/lexer,
 * syntax/ast) with its oddities: a class is either one range or a list of characters, a missing
 * '}' is forgiven, a '\' at the end is dropped, ',' and '}' are plain outside of '{'. */
#include "model/glob.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/strs.h"

typedef enum glob_op {
    GLOB_CHAR,  /* lo */
    GLOB_ANY,   /* any one character */
    GLOB_RANGE, /* lo..hi, negated when `negate` */
    GLOB_LIST,  /* runes[x .. x+y), negated when `negate` */
    GLOB_SPLIT, /* go on at x and at y */
    GLOB_JUMP,  /* go on at x */
    GLOB_MATCH
} glob_op;

typedef struct glob_step {
    uint8_t op;
    bool negate;
    uint16_t x;
    uint16_t y;
    uint32_t lo;
    uint32_t hi;
} glob_step;

enum {
    STEPS_MAX = 3 * VMBI_GLOB_MAX_BYTES + 8,
    DEPTH_MAX = 32, /* of nested '{' */
    NO_JUMP = UINT16_MAX,
    SET_WORDS = (STEPS_MAX + 63) / 64
};

struct vmbi_glob {
    char *literal;   /* set when there is nothing but literal text */
    bool everything; /* "*" */
    glob_step *steps;
    size_t n;
    uint32_t *runes; /* of the lists */
};

typedef struct glob_compiler {
    const char *p;
    const char *end;
    glob_step *steps;
    size_t n;
    uint32_t *runes;
    size_t n_runes;
    const char *problem;
} glob_compiler;

/* Decodes one character of text; a malformed byte stands for itself. */
static uint32_t next_rune(const char **p, const char *end)
{
    const uint8_t *s = (const uint8_t *)*p;
    size_t left = (size_t)(end - *p);
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 1;
    uint32_t r = s[0];

    if (len > 1 && len <= left) {
        r = s[0] & (0xFFU >> (len + 1));
        for (size_t i = 1; i < len; i++) {
            if ((s[i] & 0xC0) != 0x80) {
                *p += 1;
                return s[0];
            }
            r = (r << 6) | (s[i] & 0x3FU);
        }
        *p += len;
        return r;
    }
    *p += 1;
    return r;
}

static size_t emit(glob_compiler *c, glob_step step)
{
    /* Three steps per byte of the pattern are enough for every construct: see STEPS_MAX. */
    c->steps[c->n] = step;
    return c->n++;
}

static bool fail(glob_compiler *c, const char *problem)
{
    c->problem = problem;
    return false;
}

/* The text of a class up to ']' as a list of characters. */
static bool compile_list(glob_compiler *c, bool negate)
{
    size_t start = c->n_runes;

    while (c->p < c->end && *c->p != ']') {
        if (*c->p == '\\' && ++c->p == c->end) {
            break;
        }
        c->runes[c->n_runes++] = next_rune(&c->p, c->end);
    }
    if (c->p == c->end) {
        return fail(c, "'[' without ']'");
    }
    if (c->n_runes == start) {
        return fail(c, "empty '[]'");
    }
    c->p++;
    (void)emit(c, (glob_step){.op = GLOB_LIST,
                              .negate = negate,
                              .x = (uint16_t)start,
                              .y = (uint16_t)(c->n_runes - start)});
    return true;
}

static bool compile_class(glob_compiler *c)
{
    bool negate = c->p < c->end && *c->p == '!';

    if (negate) {
        c->p++;
    }
    if (c->p == c->end) {
        return fail(c, "'[' without ']'");
    }
    const char *p = c->p;
    uint32_t lo = next_rune(&p, c->end);
    if (p == c->end || *p != '-') {
        return compile_list(c, negate);
    }
    p++;
    if (p == c->end) {
        return fail(c, "'[' without ']'");
    }
    uint32_t hi = next_rune(&p, c->end);
    if (hi < lo) {
        return fail(c, "the range in '[]' runs backwards");
    }
    if (p == c->end || *p != ']') {
        return fail(c, "'[]' may hold one range or a list of characters, not both");
    }
    c->p = p + 1;
    (void)emit(c, (glob_step){.op = GLOB_RANGE, .negate = negate, .lo = lo, .hi = hi});
    return true;
}

static bool compile_sequence(glob_compiler *c, int depth);

/* "{" a "," b "}": a split before each alternative but the last, a jump to the end after each. The
 * jumps are chained through their targets until the end is known. */
static bool compile_alternatives(glob_compiler *c, int depth)
{
    uint16_t chain = NO_JUMP;
    bool more = true;

    while (more) {
        size_t split = emit(c, (glob_step){.op = GLOB_SPLIT, .x = (uint16_t)(c->n + 1)});

        if (!compile_sequence(c, depth + 1)) {
            return false;
        }
        more = c->p < c->end && *c->p == ',';
        if (c->p < c->end) {
            c->p++; /* ',' or '}' */
        }
        chain = (uint16_t)emit(c, (glob_step){.op = GLOB_JUMP, .x = chain});
        /* Without a further alternative the split's second way is a dead end: the first again. */
        c->steps[split].y = more ? (uint16_t)c->n : c->steps[split].x;
    }
    while (chain != NO_JUMP) {
        uint16_t before = c->steps[chain].x;

        c->steps[chain].x = (uint16_t)c->n;
        chain = before;
    }
    return true;
}

static void compile_star(glob_compiler *c)
{
    while (c->p < c->end && *c->p == '*') {
        c->p++; /* "**" differs from '*' only where there are separators */
    }
    size_t split = emit(c, (glob_step){.op = GLOB_SPLIT, .x = (uint16_t)(c->n + 1)});
    (void)emit(c, (glob_step){.op = GLOB_ANY});
    (void)emit(c, (glob_step){.op = GLOB_JUMP, .x = (uint16_t)split});
    c->steps[split].y = (uint16_t)c->n;
}

static bool compile_sequence(glob_compiler *c, int depth)
{
    if (depth > DEPTH_MAX) {
        return fail(c, "'{' is nested too deeply");
    }
    while (c->p < c->end) {
        char ch = *c->p;

        if (depth > 0 && (ch == ',' || ch == '}')) {
            return true;
        }
        if (ch == '*') {
            compile_star(c);
            continue;
        }
        if (ch == '\\' && c->p + 1 == c->end) {
            c->p++;
            continue;
        }
        if (ch == '\\') {
            c->p++;
        } else if (ch == '?' || ch == '[' || ch == '{') {
            c->p++;
            if (ch == '?') {
                (void)emit(c, (glob_step){.op = GLOB_ANY});
            } else if (!(ch == '[' ? compile_class(c) : compile_alternatives(c, depth))) {
                return false;
            }
            continue;
        }
        (void)emit(c, (glob_step){.op = GLOB_CHAR, .lo = next_rune(&c->p, c->end)});
    }
    return true;
}

bool vmbi_glob_is_pattern(const char *s)
{
    return strpbrk(s, "*?[{\\") != NULL;
}

void vmbi_glob_free(vmbi_glob *g)
{
    if (g == NULL) {
        return;
    }
    vmbi_free(g->literal);
    vmbi_free(g->steps);
    vmbi_free(g->runes);
    vmbi_free(g);
}

static vmb_code compile(vmbi_glob *g, const char *pattern, size_t len, vmb_error **err)
{
    glob_compiler c = {.p = pattern, .end = pattern + len};

    g->steps = vmbi_alloc_array(3 * len + 8, sizeof(*g->steps));
    g->runes = vmbi_alloc_array(len, sizeof(*g->runes));
    if (g->steps == NULL || g->runes == NULL) {
        return vmbi_fail_nomem(err);
    }
    c.steps = g->steps;
    c.runes = g->runes;
    if (!compile_sequence(&c, 0)) {
        return vmbi_fail(err, VMB_E_PARSE, "pattern \"%.100s\": %s", pattern, c.problem);
    }
    (void)emit(&c, (glob_step){.op = GLOB_MATCH});
    g->n = c.n;
    return VMB_OK;
}

vmb_code vmbi_glob_new(const char *pattern, vmbi_glob **out, vmb_error **err)
{
    size_t len = strlen(pattern);
    vmbi_glob *g;
    vmb_code code = VMB_OK;

    if (len > VMBI_GLOB_MAX_BYTES) {
        return vmbi_fail(err, VMB_E_LIMIT, "pattern \"%.40s…\": longer than %d bytes", pattern,
                         VMBI_GLOB_MAX_BYTES);
    }
    if (!vmbi_utf8_valid(pattern, len)) {
        return vmbi_fail(err, VMB_E_PARSE, "pattern: is not UTF-8");
    }
    g = vmbi_zalloc(sizeof(*g));
    if (g == NULL) {
        return vmbi_fail_nomem(err);
    }
    if (!vmbi_glob_is_pattern(pattern)) {
        g->literal = vmbi_strdup(pattern);
        code = g->literal == NULL ? vmbi_fail_nomem(err) : VMB_OK;
    } else {
        g->everything = strcmp(pattern, "*") == 0;
        code = compile(g, pattern, len, err);
    }
    if (code != VMB_OK) {
        vmbi_glob_free(g);
        return code;
    }
    *out = g;
    return VMB_OK;
}

/* ---- matching ------------------------------------------------------------------------------ */

typedef struct state_set {
    uint64_t bits[SET_WORDS];
} state_set;

static bool state_add(state_set *s, size_t i)
{
    uint64_t bit = UINT64_C(1) << (i % 64);
    bool fresh = (s->bits[i / 64] & bit) == 0;

    s->bits[i / 64] |= bit;
    return fresh;
}

/* Adds a state and all that can be reached from it without reading. Every state enters the stack
 * once, since it is marked before. */
static void reach(const vmbi_glob *g, state_set *s, size_t start)
{
    uint16_t stack[STEPS_MAX];
    size_t depth = 0;

    if (state_add(s, start)) {
        stack[depth++] = (uint16_t)start;
    }
    while (depth > 0) {
        const glob_step *step = &g->steps[stack[--depth]];

        if (step->op != GLOB_SPLIT && step->op != GLOB_JUMP) {
            continue;
        }
        if (state_add(s, step->x)) {
            stack[depth++] = step->x;
        }
        if (step->op == GLOB_SPLIT && state_add(s, step->y)) {
            stack[depth++] = step->y;
        }
    }
}

static bool step_accepts(const vmbi_glob *g, const glob_step *step, uint32_t r)
{
    bool found = false;

    switch ((glob_op)step->op) {
    case GLOB_CHAR:
        return step->lo == r;
    case GLOB_ANY:
        return true;
    case GLOB_RANGE:
        return (r >= step->lo && r <= step->hi) != step->negate;
    case GLOB_LIST:
        for (size_t i = 0; i < step->y && !found; i++) {
            found = g->runes[step->x + i] == r;
        }
        return found != step->negate;
    case GLOB_SPLIT:
    case GLOB_JUMP:
    case GLOB_MATCH:
        break;
    }
    return false;
}

static bool advance_states(const vmbi_glob *g, const state_set *now, state_set *next, uint32_t r)
{
    size_t words = (g->n + 63) / 64;
    bool alive = false;

    memset(next->bits, 0, words * sizeof(next->bits[0]));
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = now->bits[w]; bits != 0; bits &= bits - 1) {
            size_t i = w * 64 + (size_t)__builtin_ctzll(bits);

            if (step_accepts(g, &g->steps[i], r)) {
                reach(g, next, i + 1);
                alive = true;
            }
        }
    }
    return alive;
}

bool vmbi_glob_matches(const vmbi_glob *g, const char *text)
{
    const char *end = text + strlen(text);
    state_set a;
    state_set b;
    state_set *now = &a;
    state_set *next = &b;

    if (g->literal != NULL) {
        return strcmp(g->literal, text) == 0;
    }
    if (g->everything) {
        return true;
    }
    memset(now->bits, 0, (g->n + 63) / 64 * sizeof(now->bits[0]));
    reach(g, now, 0);
    while (text < end) {
        if (!advance_states(g, now, next, next_rune(&text, end))) {
            return false;
        }
        state_set *t = now;
        now = next;
        next = t;
    }
    return !state_add(now, g->n - 1);
}
