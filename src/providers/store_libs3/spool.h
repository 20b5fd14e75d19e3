/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_libs3: bytes of an object whose size must be known before it is sent. The first
 * 8 MiB stay in memory, the rest goes to a file without a name in $TMPDIR or /var/tmp. */
#ifndef VMBI_STORE_LIBS3_SPOOL_H
#define VMBI_STORE_LIBS3_SPOOL_H

#include "base/buf.h"
#include "codec/digest.h"

typedef struct vmbi_libs3_spool {
    vmbi_buf head;
    int fd; /* -1 while memory does */
    int64_t size;
    vmbi_digest *md5;
} vmbi_libs3_spool;

vmb_code vmbi_libs3_spool_init(vmbi_libs3_spool *s, vmb_error **err);
/* VMB_E_LIMIT beyond 5 GiB: the most that one PUT may carry. */
vmb_code vmbi_libs3_spool_write(vmbi_libs3_spool *s, const void *data, size_t len, vmb_error **err);
/* Reads at an offset; fewer bytes only at the end; -1 with errno. */
int64_t vmbi_libs3_spool_read(const vmbi_libs3_spool *s, int64_t offset, void *buf, size_t len);
void vmbi_libs3_spool_done(vmbi_libs3_spool *s);

#endif
