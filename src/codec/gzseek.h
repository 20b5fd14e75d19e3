/* SPDX-License-Identifier: Apache-2.0 */
/* gzip data that is read from its middle. A scan reads the data through once and keeps marks:
 * places where blocks begin, each with the 32 KiB before it (compressed). A cursor starts at the
 * mark before the place that is asked for. Data that is not compressed is passed on as it is. */
#ifndef VMBI_CODEC_GZSEEK_H
#define VMBI_CODEC_GZSEEK_H

#include "codec/tar.h"

typedef struct vmbi_gzscan vmbi_gzscan;
/* read and user must live as long as the scan is read. */
vmb_code vmbi_gzscan_new(vmbi_read_fn read, void *user, vmbi_gzscan **out, vmb_error **err);
/* A vmbi_read_fn: the plain data. VMB_E_PARSE when it is damaged or cut. */
int64_t vmbi_gzscan_read(void *scan, void *buf, size_t size, vmb_error **err);
void vmbi_gzscan_free(vmbi_gzscan *s);

/* A scan that was read to its end may be used by any number of threads. */

/* The offset in the compressed data at which a cursor for this place begins to read. */
uint64_t vmbi_gzscan_start(const vmbi_gzscan *s, uint64_t place);
typedef struct vmbi_gzcursor vmbi_gzcursor;
/* read gives the compressed data from that offset on. The sums of members are not checked again. */
vmb_code vmbi_gzcursor_new(const vmbi_gzscan *s, uint64_t place, vmbi_read_fn read, void *user,
                           vmbi_gzcursor **out, vmb_error **err);
/* A vmbi_read_fn: the plain data from the place on. */
int64_t vmbi_gzcursor_read(void *cursor, void *buf, size_t size, vmb_error **err);
void vmbi_gzcursor_free(vmbi_gzcursor *c);

#endif
