/* SPDX-License-Identifier: Apache-2.0 */
/* tar archives: writing as Go's archive/tar does (USTAR, PAX for long names), reading with
 * libarchive. */
#ifndef VMBI_CODEC_TAR_H
#define VMBI_CODEC_TAR_H

#include "codec/gzip.h"
#include "codec/jscan.h"

typedef struct vmbi_tar vmbi_tar;
/* Bytes go to fn. Entries: regular files, mode 0755, uid 0, gid 0, the given time. */
vmb_code vmbi_tar_new(vmbi_write_fn fn, void *user, vmbi_tar **out, vmb_error **err);
/* One entry whose content is the concatenation of n parts. */
vmb_code vmbi_tar_add(vmbi_tar *t, const char *path, int64_t mtime_unix_s, const vmbi_slice *parts,
                      size_t n, vmb_error **err);
vmb_code vmbi_tar_finish(vmbi_tar *t, vmb_error **err); /* two zero blocks; then only free */
void vmbi_tar_free(vmbi_tar *t);

/* Reads a .tar.gz (or .tar) that arrives through `read`: returns bytes, 0 at the end, negative
 * vmb_code on failure. fn gets each regular file; a negative return ends the walk with that code,
 * a positive one ends it with success. Files above max_file bytes: VMB_E_LIMIT. Paths that are
 * absolute or contain "..": VMB_E_INVALID. */
typedef int64_t (*vmbi_read_fn)(void *user, void *buf, size_t size, vmb_error **err);
typedef vmb_code (*vmbi_tar_entry_fn)(void *user, const char *path, const char *data, size_t len,
                                      vmb_error **err);
vmb_code vmbi_tar_read(vmbi_read_fn read, void *read_user, size_t max_file, vmbi_tar_entry_fn fn,
                       void *user, vmb_error **err);
/* The same without contents: where each regular file's entry begins in the tar. */
typedef vmb_code (*vmbi_tar_place_fn)(void *user, const char *path, uint64_t place,
                                      vmb_error **err);
vmb_code vmbi_tar_places(vmbi_read_fn read, void *read_user, vmbi_tar_place_fn fn, void *user,
                         vmb_error **err);

#endif
