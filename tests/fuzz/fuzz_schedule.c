/* SPDX-License-Identifier: Apache-2.0 */
/* Cron expressions and time zone files: an expression, a NUL, and the bytes of a TZif file. What is
 * found next must lie after the start, and be found again from behind. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/zone.h"
#include "model/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define START INT64_C(1764000000000000000) /* in November 2025 */

static void check_expression(const char *text)
{
    vmbi_cron *c = NULL;
    int64_t next = 0;
    int64_t prev = 0;

    if (vmbi_cron_parse(text, "Europe/Berlin", &c, NULL) != VMB_OK) {
        return;
    }
    if (vmbi_cron_next(c, START, &next)) {
        if (next <= START) {
            abort();
        }
        /* in zones whose clocks change at midnight, months may be skipped as robfig/cron does it */
        if (strstr(text, "TZ=") == NULL && vmbi_cron_every_ns(c) == 0 &&
            (!vmbi_cron_prev(c, next + 1, &prev) || prev != next)) {
            abort();
        }
    }
    vmbi_cron_free(c);
}

static void check_zone(const uint8_t *data, size_t size)
{
    static const int64_t at[] = {INT64_C(-5000000000), 0, 1764000000, INT64_C(4000000000)};
    vmbi_zone *z = NULL;

    if (vmbi_zone_parse(data, size, "fuzz", &z, NULL) != VMB_OK) {
        return;
    }
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        vmbi_zone_span span;
        vmbi_civil c;

        vmbi_zone_at(z, at[i], &span);
        if (at[i] < span.start_unix_s || at[i] >= span.end_unix_s) {
            abort();
        }
        vmbi_zone_civil(z, at[i], &c);
        (void)vmbi_zone_unix(z, &c);
    }
    vmbi_zone_free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = memchr(data, '\0', size);
    size_t len = nul != NULL ? (size_t)(nul - data) : size;
    char text[512];

    if (len < sizeof(text)) {
        memcpy(text, data, len);
        text[len] = '\0';
        check_expression(text);
    }
    if (nul != NULL) {
        check_zone(nul + 1, size - len - 1);
    }
    return 0;
}
