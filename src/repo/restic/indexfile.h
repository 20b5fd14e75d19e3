/* SPDX-License-Identifier: Apache-2.0 */
/* Index files, as JSON text. Source: restic internal/repository/index/index.go. */
#ifndef VMBI_REPO_RESTIC_INDEXFILE_H
#define VMBI_REPO_RESTIC_INDEXFILE_H

#include "repo/restic/pack.h"

enum { VMBI_INDEX_FILE_BLOBS = 32768 }; /* a file is full with this many: some 5 MB of text */

/* Called for each pack; blobs are in the order of the file and may be sorted in place. */
typedef vmb_code (*vmbi_index_pack_fn)(void *user, const vmbi_repo_id *pack, vmbi_pack_blob *v,
                                       size_t n, vmb_error **err);
typedef vmb_code (*vmbi_index_supersedes_fn)(void *user, const vmbi_repo_id *index,
                                             vmb_error **err);
/* Scans the text without a tree. VMB_E_PARSE or VMB_E_INVALID when it is no index. supersedes may
 * be NULL: such notes are passed over, as restic does since 0.17. */
vmb_code vmbi_indexfile_parse(const char *text, size_t len, vmbi_index_pack_fn fn,
                              vmbi_index_supersedes_fn supersedes, void *user, vmb_error **err);

/* Writing: begin, a pack at a time, end. Errors are sticky in `out`. */
void vmbi_indexfile_begin(vmbi_buf *out);
void vmbi_indexfile_pack(vmbi_buf *out, bool first, const vmbi_repo_id *pack,
                         const vmbi_pack_blob *v, size_t n);
void vmbi_indexfile_end(vmbi_buf *out);

#endif
