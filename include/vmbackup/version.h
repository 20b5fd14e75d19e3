/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file version.h
 * @brief Version and feature discovery.
 */
#ifndef VMBACKUP_VERSION_H
#define VMBACKUP_VERSION_H

#include <vmbackup/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the loaded library, which may be newer than these headers, as major * 1000000 + minor * 1000 + patch. */
VMB_API uint32_t vmb_version_number(void);
/** Version of the loaded library, "major.minor.patch". Static string. */
VMB_API const char *vmb_version_string(void);
/**
 * Tells whether this build has a feature.
 * @param name "cluster.kube", "cluster.dir", "exec.kube", "snapshot.csi", "volume.repo",
 *        "actions.kubernetes", "actions.kubevirt", "store.s3", "store.dir", "store.libs3",
 *        "repo.restic"; unknown names: 0
 * @return 1 or 0
 */
VMB_API int32_t vmb_has_feature(const char *name);

#ifdef __cplusplus
}
#endif
#endif
