/* SPDX-License-Identifier: Apache-2.0 */
/* base.h and version.h; the functions on vmb_error are in base/error.c. */
#include <vmbackup/base.h>
#include <vmbackup/version.h>

#include <string.h>

#include "base/alloc.h"
#include "base/strs.h"

void vmb_free(void *p)
{
    vmbi_free(p);
}

const char *vmb_version_string(void)
{
    return VMBI_VERSION;
}

uint32_t vmb_version_number(void)
{
    uint32_t parts[3] = {0, 0, 0};
    size_t part = 0;
    for (const char *p = VMBI_VERSION; *p != '\0' && part < 3; p++) {
        if (*p == '.') {
            part++;
        } else if (vmbi_is_digit(*p)) {
            parts[part] = parts[part] * 10 + (uint32_t)(*p - '0');
        }
    }
    return parts[0] * 1000000 + parts[1] * 1000 + parts[2];
}

int32_t vmb_has_feature(const char *name)
{
    static const char *const features[] = {
        "actions.kubernetes", "actions.kubevirt", "cluster.dir", "cluster.kube", "exec.kube",
        "repo.restic",        "snapshot.csi",     "store.dir",    "store.s3",    "volume.repo",
#ifdef VMBI_HAVE_LIBS3
        "store.libs3",
#endif
    };
    for (size_t i = 0; name != NULL && i < VMBI_ARRAY_LEN(features); i++) {
        if (strcmp(features[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}
