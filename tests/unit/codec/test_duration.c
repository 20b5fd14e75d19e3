/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/duration.h"

/* Values from Go's time.ParseDuration (go1.26). */
static void duration_valid_gives_ns(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"+0", 0},
        {"-0", 0},
        {"0s", 0},
        {"5s", 5000000000},
        {"30s", 30000000000},
        {"1478s", 1478000000000},
        {"-5s", -5000000000},
        {"+5s", 5000000000},
        {"5.0s", 5000000000},
        {"5.6s", 5600000000},
        {"5.s", 5000000000},
        {".5s", 500000000},
        {"1.004s", 1004000000},
        {"100.00100s", 100001000000},
        {"10ns", 10},
        {"11us", 11000},
        {"12\xc2\xb5s", 12000},
        {"12\xce\xbcs", 12000},
        {"13ms", 13000000},
        {"14s", 14000000000},
        {"15m", 900000000000},
        {"16h", 57600000000000},
        {"720h0m0s", 2592000000000000},
        {"3h30m", 12600000000000},
        {"10.5s4m", 250500000000},
        {"-2m3.4s", -123400000000},
        {"1h2m3s4ms5us6ns", 3723004005006},
        {"39h9m14.425s", 140954425000000},
        {"52763797000ns", 52763797000},
        {"0.3333333333333333333h", 1200000000000},
        {"9007199254740993ns", 9007199254740993},
        {"9223372036854775807ns", INT64_MAX},
        {"9223372036854775.807us", INT64_MAX},
        {"9223372036s854ms775us807ns", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
        {"-9223372036854775.808us", INT64_MIN},
        {"-2562047h47m16.854775808s", INT64_MIN},
        {"0.100000000000000000000h", 360000000000},
        {"0.830103483285477580700h", 2988372539827},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t ns = 42;

        if (!vmbi_duration_parse(cases[i].text, &ns) || ns != cases[i].ns) {
            fail_msg("%s gave %lld", cases[i].text, (long long)ns);
        }
    }
}

static void duration_malformed_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "3",
        "-",
        "s",
        ".",
        "-.",
        ".s",
        "+.s",
        "1d",
        "1w",
        "1 s",
        " 1s",
        "1s ",
        "1h 30m",
        "1S",
        "--1s",
        "1.2.3s",
        "1e3s",
        "0x1s",
        "30s 10",
        "\x85\x85",
        "\xffs",
        "hello \xff world",
        "9223372036854775808ns",
        "9223372036854775.808us",
        "9223372036854ms775us808ns",
        "-9223372036854775809ns",
        "3000000h",
        "99999999999999999999s",
        "2562047h47m16.854775808s",
        "1s-1s",
        "1h+1s",
        "1sn",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t ns = 42;

        if (vmbi_duration_parse(cases[i], &ns) || ns != 42) {
            fail_msg("\"%s\" was accepted as %lld", cases[i], (long long)ns);
        }
    }
    int64_t ns;
    assert_false(vmbi_duration_parse(NULL, &ns));
}

/* Values from Go's time.Duration.String. */
static void duration_format_is_gos(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {1, "1ns"},
        {-1, "-1ns"},
        {999, "999ns"},
        {1100, "1.1\xc2\xb5s"},
        {2200000, "2.2ms"},
        {3300000000, "3.3s"},
        {300000000, "300ms"},
        {30000000000, "30s"},
        {60000000000, "1m0s"},
        {245000000000, "4m5s"},
        {245001000000, "4m5.001s"},
        {18367001000000, "5h6m7.001s"},
        {480000000001, "8m0.000000001s"},
        {2592000000000000, "720h0m0s"},
        {14400000000000, "4h0m0s"},
        {-1500000000, "-1.5s"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        char out[VMBI_DURATION_SIZE];
        int64_t back;

        vmbi_duration_format(cases[i].ns, out);
        assert_string_equal(out, cases[i].text);
        assert_true(vmbi_duration_parse(out, &back));
        assert_int_equal(back, cases[i].ns);
    }
}

static void duration_format_reads_back(void **state)
{
    uint64_t x = 88172645463325252u;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char out[VMBI_DURATION_SIZE];
        int64_t back, ns;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        ns = (int64_t)x >> (i % 64);
        vmbi_duration_format(ns, out);
        if (!vmbi_duration_parse(out, &back) || back != ns) {
            fail_msg("%lld became %s", (long long)ns, out);
        }
    }
}

/* Values from k8s.io/apimachinery's resource.Quantity.Value(). */
static void quantity_valid_is_rounded_up(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"+1", 1},
        {"100", 100},
        {"1Ki", 1024},
        {"16Mi", 16777216},
        {"1.5Gi", 1610612736},
        {"1.5G", 1500000000},
        {"1k", 1000},
        {"2M", 2000000},
        {"3T", 3000000000000},
        {"4P", 4000000000000000},
        {"1E", 1000000000000000000},
        {"7Ei", 8070450532247928832},
        {"1e3", 1000},
        {"1E3", 1000},
        {"1e+3", 1000},
        {"12e-1", 2},
        {"100m", 1},
        {"1500m", 2},
        {"2000m", 2},
        {"1n", 1},
        {"1u", 1},
        {"999999999n", 1},
        {"1000000000n", 1},
        {".5", 1},
        {"5.", 5},
        {"0.1Ki", 103},
        {"-1.5", -2},
        {"-100m", -1},
        {"0.000000001", 1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"9.223372036854775807E", INT64_MAX},
        {"0e999999999999", 0},
        {"1e-999", 1},
        {"0.00001e5", 1},
        {"00012", 12},
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t v = 42;

        if (!vmbi_quantity_parse(cases[i].text, &v) || v != cases[i].value) {
            fail_msg("%s gave %lld", cases[i].text, (long long)v);
        }
    }
}

static void quantity_malformed_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "+",
        "-",
        ".",
        "Ki",
        "k",
        "1K",
        "1ki",
        "1 Ki",
        " 1",
        "1 ",
        "1.2.3",
        "1e",
        "1e+",
        "1e--1",
        "1e+-1",
        "1e1.5",
        "1Kii",
        "1mm",
        "--1",
        "0x10",
        "1,5",
        "ten",
        "9223372036854775808",
        "8Ei",
        "7.9999999999999999999Ei",
        "10E",
        "1e19",
        "-9223372036854775809",
        "1e99999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < VMBI_ARRAY_LEN(cases); i++) {
        int64_t v = 42;

        if (vmbi_quantity_parse(cases[i], &v) || v != 42) {
            fail_msg("\"%s\" was accepted as %lld", cases[i], (long long)v);
        }
    }
    int64_t v;
    assert_false(vmbi_quantity_parse(NULL, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duration_valid_gives_ns),
        cmocka_unit_test(duration_malformed_is_refused),
        cmocka_unit_test(duration_format_is_gos),
        cmocka_unit_test(duration_format_reads_back),
        cmocka_unit_test(quantity_valid_is_rounded_up),
        cmocka_unit_test(quantity_malformed_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
