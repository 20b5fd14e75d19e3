/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/config.h"

#include <string.h>

#include "base/error.h"
#include "codec/digest.h"
#include "codec/json.h"

enum {
    MIN_DEGREE = 8, /* the chunker shifts by degree - 8 */
    DEGREE = 53
};

static bool parse_polynomial(const char *text, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;

    if (text == NULL || text[0] == '\0') {
        return false;
    }
    for (i = 0; text[i] != '\0'; i++) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (digit < 0 || i >= 16) {
            return false;
        }
        v = v << 4 | (uint64_t)digit;
    }
    *out = v;
    return true;
}

vmb_code vmbi_restic_config_parse(const char *text, size_t len, vmbi_restic_config *out,
                                  vmb_error **err)
{
    vmbi_restic_config c;
    vmbi_repo_id id;
    vmbi_json *v = NULL;
    const char *hex = NULL;
    int64_t version = 0;
    vmb_code code = vmbi_json_parse(text, len, "config", &v, err);

    if (code != VMB_OK) {
        return code;
    }
    memset(&c, 0, sizeof(c));
    version = vmbi_json_int(vmbi_json_get(v, "version"), 0);
    hex = vmbi_json_get_str(v, "id");
    if (version < 1 || version > 2) {
        code = vmbi_fail(err, VMB_E_UNSUPPORTED, "config: repository version %lld, known are 1 and 2",
                         (long long)version);
    } else if (hex == NULL || !vmbi_repo_id_parse(hex, strlen(hex), &id)) {
        code = vmbi_fail(err, VMB_E_INVALID, "config: \"id\" is no ID");
    } else if (!parse_polynomial(vmbi_json_get_str(v, "chunker_polynomial"), &c.polynomial) ||
               vmbi_gf2_degree(c.polynomial) < MIN_DEGREE ||
               vmbi_gf2_degree(c.polynomial) > DEGREE || !vmbi_gf2_irreducible(c.polynomial)) {
        code = vmbi_fail(err, VMB_E_INVALID,
                         "config: \"chunker_polynomial\" is no irreducible polynomial");
    } else {
        c.version = (uint32_t)version;
        vmbi_repo_id_hex(&id, c.id);
        *out = c;
    }
    vmbi_json_free(v);
    return code;
}

void vmbi_restic_config_print(const vmbi_restic_config *c, vmbi_buf *out)
{
    vmbi_buf_addf(out, "{\"version\":%u,\"id\":\"%s\",\"chunker_polynomial\":\"%llx\"}",
                  (unsigned)c->version, c->id, (unsigned long long)c->polynomial);
}

int vmbi_gf2_degree(uint64_t f)
{
    return f == 0 ? -1 : 63 - __builtin_clzll(f);
}

uint64_t vmbi_gf2_mod(uint64_t a, uint64_t f)
{
    const int df = vmbi_gf2_degree(f);
    int da = vmbi_gf2_degree(a);

    while (da >= df) {
        a ^= f << (da - df);
        da = vmbi_gf2_degree(a);
    }
    return a;
}

/* a * b mod f, for a and b reduced and deg f <= 62. */
static uint64_t mul_mod(uint64_t a, uint64_t b, uint64_t f)
{
    const int df = vmbi_gf2_degree(f);
    uint64_t sum = 0;

    for (; b != 0; b >>= 1) {
        if ((b & 1) != 0) {
            sum ^= a;
        }
        a <<= 1;
        if ((a >> df & 1) != 0) {
            a ^= f;
        }
    }
    return sum;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = vmbi_gf2_mod(a, b);

        a = b;
        b = rest;
    }
    return a;
}

/* Ben-Or: f of degree d is irreducible when it shares no factor with x^(2^i) - x for i = 1 to
 * d / 2, since these are the products of all irreducible polynomials whose degree divides i. */
bool vmbi_gf2_irreducible(uint64_t f)
{
    const int degree = vmbi_gf2_degree(f);
    uint64_t q = 2; /* x */
    int i = 0;

    if (degree < 2 || degree > 62) {
        return false;
    }
    for (i = 1; i <= degree / 2; i++) {
        q = mul_mod(q, q, f);
        if (gcd(f, q ^ 2) != 1) {
            return false;
        }
    }
    return true;
}

uint64_t vmbi_gf2_random(void)
{
    uint64_t f = 0;

    do {
        vmbi_random(&f, sizeof(f));
        f &= (UINT64_C(1) << (DEGREE + 1)) - 1;
        f |= UINT64_C(1) << DEGREE | 1;
    } while (!vmbi_gf2_irreducible(f));
    return f;
}
