/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "model/incexc.h"
#include "model/labelname.h"
#include "model/nsfilter.h"

/* ---- label names ---------------------------------------------------------------------------- */

static void label_name_too_long_is_shortened_as_velero_does(void **state)
{
    char out[VMBI_LABEL_NAME_SIZE];
    char s[65];

    (void)state;
    vmbi_label_valid_name(
        "du-11111111-2222-3333-4444-555555555555.66666666-7777-8888-9999-aaaaaaaaaaaa", out);
    assert_string_equal(out, "du-11111111-2222-3333-4444-555555555555.66666666-7777-88814b395");
    vmbi_label_valid_name("short", out);
    assert_string_equal(out, "short");
    memset(s, 'a', 64);
    s[63] = '\0';
    vmbi_label_valid_name(s, out);
    assert_string_equal(out, s);
    s[63] = 'a';
    s[64] = '\0';
    vmbi_label_valid_name(s, out);
    assert_int_equal(strlen(out), 63);
    assert_string_not_equal(out + 57, "aaaaaa");
}

static bool key_ok(const char *s)
{
    const char *why = NULL;
    bool ok = vmbi_label_key_ok(s, strlen(s), &why);

    assert_true(ok || why != NULL);
    return ok;
}

static void label_keys_are_checked(void **state)
{
    static const char *const good[] = {"a", "A.b_c-9", "velero.io/exclude-from-backup", "1/2",
                                       "x.y.z/Name"};
    static const char *const bad[] = {"",   "/",   "/a",    "a/",   "a/b/c", "a b", "-a",
                                      "a-", "A/b", "a_b/c", ".a/b", "é",     "a=b", "a.-b/c"};
    char longest[256 + 64];

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(good); i++) {
        assert_true(key_ok(good[i]));
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        assert_false(key_ok(bad[i]));
    }
    memset(longest, 'a', sizeof(longest));
    memcpy(longest + 253, "/", 1);
    longest[254 + 63] = '\0';
    assert_true(key_ok(longest));
    longest[254 + 63] = 'a';
    longest[254 + 64] = '\0';
    assert_false(key_ok(longest));
    assert_true(vmbi_label_value_ok("", 0, NULL));
    assert_false(vmbi_label_value_ok("<app>", 5, NULL));
}

static void dns_names_are_checked(void **state)
{
    (void)state;
    assert_true(vmbi_dns_label_ok("a-b", 3));
    assert_false(vmbi_dns_label_ok("a.b", 3));
    assert_false(vmbi_dns_label_ok("A", 1));
    assert_false(vmbi_dns_label_ok("", 0));
    assert_true(vmbi_dns_subdomain_ok("a.b-c.9", 7));
    assert_false(vmbi_dns_subdomain_ok("a..b", 4));
    assert_false(vmbi_dns_subdomain_ok("a.", 2));
    assert_false(vmbi_dns_subdomain_ok("<backup>", 8));
}

/* ---- globs ---------------------------------------------------------------------------------- */

typedef struct glob_case {
    const char *pattern;
    const char *text;
    int want; /* -1: does not compile */
} glob_case;

static const glob_case glob_cases[] = {
    {"", "", 1},
    {"", "a", 0},
    {"*", "", 1},
    {"*", "a.b/c", 1},
    {"a*", "abc", 1},
    {"a*", "ba", 0},
    {"*.velero.io", "backups.velero.io", 1},
    {"*.velero.io", "backups.velero.io.x", 0},
    {"virtualmachine*", "virtualmachineinstances.kubevirt.io", 1},
    {"a**b", "axxb", 1},
    {"?", "a", 1},
    {"?", "é", 1},
    {"?", "", 0},
    {"?", "ab", 0},
    {"a?c", "abc", 1},
    {"[abc]", "b", 1},
    {"[abc]", "d", 0},
    {"[a-c]", "b", 1},
    {"[a-c]", "d", 0},
    {"[!a-c]", "d", 1},
    {"[!a-c]", "a", 0},
    {"[!abc]x", "dx", 1},
    {"[ab-c]", "-", 1}, /* a list: only a first pair is a range */
    {"[a-zA-Z]", "q", -1},
    {"[c-a]", "b", -1},
    {"[]", "", -1},
    {"[!]", "", -1},
    {"[", "", -1},
    {"[a", "a", -1},
    {"[a-", "a", -1},
    {"[a-c", "a", -1},
    {"[\\]x]", "]", 1},
    {"[^a]", "^", 1},
    {"]", "]", 1},
    {"{a,b}", "a", 1},
    {"{a,b}", "b", 1},
    {"{a,b}", "c", 0},
    {"{a,b}", "{a,b}", 0},
    {"{,a}b", "b", 1},
    {"{,a}b", "ab", 1},
    {"{a,{b,c}d}e", "cde", 1},
    {"{a,{b,c}d}e", "ae", 1},
    {"{a,{b,c}d}e", "ce", 0},
    {"{*.io,pods}", "backups.velero.io", 1},
    {"{a,b", "b", 1}, /* a missing brace is forgiven */
    {"a,b", "a,b", 1},
    {"a}b", "a}b", 1},
    {"\\*", "*", 1},
    {"\\*", "a", 0},
    {"a\\", "a", 1},
    {"\\", "", 1},
    {"a\\,b", "a,b", 1},
    {"{a\\,b,c}", "a,b", 1},
    {"a.b", "axb", 0},
    {"*a*b*c*", "xxaxxbxxcxx", 1},
    {"*a*b*c*", "xxaxxcxxbxx", 0},
};

static void glob_cases_match_as_velero_globs(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(glob_cases); i++) {
        const glob_case *c = &glob_cases[i];
        vmbi_glob *g = NULL;
        vmb_error *err = NULL;
        vmb_code code = vmbi_glob_new(c->pattern, &g, &err);
        int got = code == VMB_E_PARSE ? -1 : code != VMB_OK ? -2 : vmbi_glob_matches(g, c->text);

        if (got != c->want) {
            fail_msg("\"%s\" on \"%s\": %d, not %d", c->pattern, c->text, got, c->want);
        }
        vmbi_glob_free(g);
        vmb_error_free(err);
    }
}

/* Processor time: what is bounded is work, and others may keep the processors busy. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * VMBI_SECOND + t.tv_nsec;
}

/* A backtracking matcher needs longer than the universe for this one. */
static void glob_hostile_pattern_matches_in_bounded_time(void **state)
{
    char pattern[VMBI_GLOB_MAX_BYTES + 1] = "";
    char text[2001];
    vmbi_glob *g = NULL;
    int64_t start = cpu_ns();

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(pattern); i += 2) {
        memcpy(pattern + i, "*a", 2);
    }
    pattern[sizeof(pattern) - 2] = 'b';
    pattern[sizeof(pattern) - 1] = '\0';
    memset(text, 'a', 2000);
    text[2000] = '\0';
    assert_int_equal(vmbi_glob_new(pattern, &g, NULL), VMB_OK);
    assert_false(vmbi_glob_matches(g, text));
    assert_true(cpu_ns() - start < 5 * VMBI_SECOND);
    vmbi_glob_free(g);
}

static void glob_too_long_or_deep_is_refused(void **state)
{
    char pattern[VMBI_GLOB_MAX_BYTES + 2];
    vmbi_glob *g = NULL;

    (void)state;
    memset(pattern, '{', sizeof(pattern));
    pattern[VMBI_GLOB_MAX_BYTES + 1] = '\0';
    assert_int_equal(vmbi_glob_new(pattern, &g, NULL), VMB_E_LIMIT);
    pattern[VMBI_GLOB_MAX_BYTES] = '\0';
    assert_int_equal(vmbi_glob_new(pattern, &g, NULL), VMB_E_PARSE);
    assert_int_equal(vmbi_glob_new("a*\xff", &g, NULL), VMB_E_PARSE);
    assert_null(g);
}

/* ---- include and exclude lists -------------------------------------------------------------- */

static vmbi_strs list_of(const char *text)
{
    vmbi_strs l = {0};

    if (text != NULL) {
        assert_int_equal(vmbi_strs_split(&l, text, ' ', NULL), VMB_OK);
    }
    return l;
}

static bool wants(const char *includes, const char *excludes, const char *text)
{
    vmbi_strs in = list_of(includes);
    vmbi_strs ex = list_of(excludes);
    vmbi_incexc ie;
    bool yes;

    assert_int_equal(vmbi_incexc_init(&ie, &in, &ex, NULL), VMB_OK);
    yes = vmbi_incexc_wants(&ie, text);
    vmbi_incexc_free(&ie);
    vmbi_strs_free(&in);
    vmbi_strs_free(&ex);
    return yes;
}

static void incexc_excludes_win_and_empty_includes_everything(void **state)
{
    (void)state;
    assert_true(wants(NULL, NULL, "a"));
    assert_true(wants("*", NULL, "a"));
    assert_true(wants("a b", NULL, "b"));
    assert_false(wants("a b", NULL, "c"));
    assert_false(wants("a b", "b", "b"));
    assert_false(wants(NULL, "b*", "bc"));
    assert_false(wants("*", "b*", "bc"));
    assert_true(wants("*", "b*", "c"));
}

static void incexc_bad_pattern_ends_the_search(void **state)
{
    (void)state;
    /* sorted: "[x" comes before "a" and after "X" */
    assert_false(wants("a [x", NULL, "a"));
    assert_true(wants("X [x", NULL, "X"));
    assert_false(wants("[x z*", NULL, "zz"));
    /* a bad pattern among the excludes excludes nothing after it */
    assert_true(wants(NULL, "a [x", "a"));
}

/* ---- namespaces ----------------------------------------------------------------------------- */

typedef struct ns_case {
    const char *includes;
    const char *excludes;
    const char *existing;
    const char *listed;
    const char *missing;
    bool everything;
    bool all_included;
    bool nothing;
} ns_case;

static const ns_case ns_cases[] = {
    {NULL, NULL, "b a", "a b", NULL, true, true, false},
    {"*", NULL, "b a", "a b", NULL, true, true, false},
    {"*", "t-*", "a t-1 t-2", "a", NULL, false, true, false},
    {NULL, "t-*", "a t-1 t-2", "a", NULL, false, true, false},
    {"a b*", NULL, "a b1 b2 c", "a b1 b2", NULL, false, false, false},
    {"a b", NULL, "a b", "a b", NULL, true, false, false}, /* all of them, by name */
    {"?", NULL, "a b", "a b", NULL, true, false, false},
    {"a b c", NULL, "a b", "a b", "c", false, false, false},
    {"x*", NULL, "a b", NULL, NULL, false, false, true},
    {"x* y", NULL, "a b", NULL, "y", false, false, false},
    {"a* gone", "a2", "a1 a2 b", "a1", "gone", false, false, false},
    {"a", "b*", "a b1", "a", NULL, false, false, false},
    {"[ab]", NULL, "a b c", "a b", NULL, false, false, false},
};

static void check_list(const char *what, size_t i, const vmbi_strs *got, const char *want)
{
    vmbi_strs expected = list_of(want);
    bool same = got->n == expected.n;

    for (size_t k = 0; same && k < got->n; k++) {
        same = strcmp(got->v[k], expected.v[k]) == 0;
    }
    if (!same) {
        fail_msg("case %zu: %s: %zu entries, wanted \"%s\"", i, what, got->n, want ? want : "");
    }
    vmbi_strs_free(&expected);
}

static void nsfilter_cases_expand_against_existing(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(ns_cases); i++) {
        const ns_case *c = &ns_cases[i];
        vmbi_strs in = list_of(c->includes);
        vmbi_strs ex = list_of(c->excludes);
        vmbi_strs all = list_of(c->existing);
        vmbi_nsfilter f;

        assert_int_equal(vmbi_nsfilter_init(&f, &in, &ex, &all, NULL), VMB_OK);
        check_list("listed", i, &f.listed, c->listed);
        check_list("missing", i, &f.missing, c->missing);
        if (f.everything != c->everything || f.all_included != c->all_included ||
            f.matched_nothing != c->nothing) {
            fail_msg("case %zu: everything %d all %d nothing %d", i, f.everything, f.all_included,
                     f.matched_nothing);
        }
        assert_int_equal(vmbi_nsfilter_wants(&f, "a"),
                         c->listed != NULL && c->listed[0] == 'a' && c->listed[1] != '1');
        vmbi_nsfilter_free(&f);
        vmbi_strs_free(&in);
        vmbi_strs_free(&ex);
        vmbi_strs_free(&all);
    }
}

static void nsfilter_entries_are_checked(void **state)
{
    static const char *const good[] = {"*", "a", "a-*", "a?", "[ab]-x", "", "ns-1"};
    static const char *const bad[] = {
        "a**",
        "{a,b}",
        "!a",
        "a|b",
        "[]",
        "[a",
        "a]",
        "A",
        "a.b",
        "<namespace>",
        "-a",
        "a_b",
        "<ns> 1",
        "[!a]",
        "(a)",
        "a,b",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234"};

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(good); i++) {
        assert_true(vmbi_nsfilter_entry_ok(good[i], NULL));
    }
    for (size_t i = 0; i < VMBI_ARRAY_LEN(bad); i++) {
        const char *why = NULL;

        if (vmbi_nsfilter_entry_ok(bad[i], &why) || why == NULL) {
            fail_msg("\"%s\" passed", bad[i]);
        }
    }
}

/* 20,000 namespaces named one by one: lists are searched by halving, not one after the other. */
static void nsfilter_of_many_namespaces_is_fast(void **state)
{
    vmbi_strs names = {0};
    vmbi_nsfilter f;
    char name[32];
    int64_t start;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof(name), "namespace-%d", i);
        assert_int_equal(vmbi_strs_add(&names, name, NULL), VMB_OK);
    }
    start = cpu_ns();
    assert_int_equal(vmbi_nsfilter_init(&f, &names, NULL, &names, NULL), VMB_OK);
    for (size_t i = 0; i < names.n; i++) {
        assert_true(vmbi_nsfilter_wants(&f, names.v[i]));
    }
    assert_true(f.everything);
    assert_true(cpu_ns() - start < 3 * VMBI_SECOND);
    vmbi_nsfilter_free(&f);
    vmbi_strs_free(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(label_name_too_long_is_shortened_as_velero_does),
        cmocka_unit_test(label_keys_are_checked),
        cmocka_unit_test(dns_names_are_checked),
        cmocka_unit_test(glob_cases_match_as_velero_globs),
        cmocka_unit_test(glob_hostile_pattern_matches_in_bounded_time),
        cmocka_unit_test(glob_too_long_or_deep_is_refused),
        cmocka_unit_test(incexc_excludes_win_and_empty_includes_everything),
        cmocka_unit_test(incexc_bad_pattern_ends_the_search),
        cmocka_unit_test(nsfilter_cases_expand_against_existing),
        cmocka_unit_test(nsfilter_entries_are_checked),
        cmocka_unit_test(nsfilter_of_many_namespaces_is_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
