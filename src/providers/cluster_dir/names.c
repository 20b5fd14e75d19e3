/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about names that need no table: order of versions, guessed plurals. */
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "providers/cluster_dir/tree.h"

typedef struct version_rank {
    int stage; /* 3 stable, 2 beta, 1 alpha, 0 no Kubernetes version */
    int64_t major;
    int64_t minor;
} version_rank;

static bool take_number(const char **p, int64_t *out)
{
    size_t n = 0;
    while (vmbi_is_digit((*p)[n])) {
        n++;
    }
    if (n == 0 || !vmbi_parse_i64(*p, n, out)) {
        return false;
    }
    *p += n;
    return true;
}

static version_rank rank_of(const char *v)
{
    static const version_rank none = {0, 0, 0};
    version_rank r = {3, 0, 0};
    const char *p = v;
    if (*p++ != 'v' || !take_number(&p, &r.major)) {
        return none;
    }
    if (*p == '\0') {
        return r;
    }
    if (vmbi_starts_with(p, "beta")) {
        r.stage = 2;
        p += 4;
    } else if (vmbi_starts_with(p, "alpha")) {
        r.stage = 1;
        p += 5;
    } else {
        return none;
    }
    return take_number(&p, &r.minor) && *p == '\0' ? r : none;
}

/* Source: k8s.io/apimachinery pkg/version/helpers.go, CompareKubeAwareVersionStrings. */
int vmbi_dir_version_compare(const char *a, const char *b)
{
    version_rank x = rank_of(a);
    version_rank y = rank_of(b);
    if (x.stage != y.stage) {
        return x.stage > y.stage ? -1 : 1;
    }
    if (x.major != y.major) {
        return x.major > y.major ? -1 : 1;
    }
    if (x.minor != y.minor) {
        return x.minor > y.minor ? -1 : 1;
    }
    return strcmp(a, b);
}

/* Source: k8s.io/apimachinery pkg/api/meta/restmapper.go, UnsafeGuessKindToResource. */
vmb_code vmbi_dir_guess_plural(const char *kind, char **out, vmb_error **err)
{
    vmbi_buf b = VMBI_BUF_INIT(512);
    for (const char *p = kind; *p != '\0'; p++) {
        vmbi_buf_addc(&b, vmbi_lower(*p));
    }
    vmb_code code = vmbi_buf_check(&b, err, "kind");
    if (code == VMB_OK) {
        if (vmbi_ends_with(b.data, "endpoints")) {
            /* plural already */
        } else if (vmbi_ends_with(b.data, "s")) {
            vmbi_buf_adds(&b, "es");
        } else if (vmbi_ends_with(b.data, "y")) {
            b.len--;
            vmbi_buf_adds(&b, "ies");
        } else {
            vmbi_buf_addc(&b, 's');
        }
        code = vmbi_buf_take(&b, out, NULL, err, "plural");
    }
    vmbi_buf_free(&b);
    return code;
}
