/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store_s3: the XML that S3 answers with. The only file that sees libxml2: no network,
 * no document types, no entities but the five, limits on depth and text. */
#ifndef VMBI_STORE_S3_XML_H
#define VMBI_STORE_S3_XML_H

#include <vmbackup/base.h>

#include "base/buf.h"
#include "base/compiler.h"

/* Called at the end of every element with its path ("ListBucketResult/Contents/Key") and its own
 * text, white space included. */
typedef vmb_code (*vmbi_s3_xml_fn)(void *user, const char *path, const char *text, vmb_error **err);
/* VMB_E_PROTOCOL when malformed; a failure of fn ends the walk with its code. White space before
 * the document is allowed (servers send it to keep a connection alive). */
vmb_code vmbi_s3_xml_walk(const char *xml, size_t len, const char *what, vmbi_s3_xml_fn fn,
                          void *user, vmb_error **err);
/* Text of one element, trimmed; false when malformed, absent or longer than size - 1. */
bool vmbi_s3_xml_text(const char *xml, size_t len, const char *path, char *out, size_t size);
/* Local name of the root element; false when there is none. */
bool vmbi_s3_xml_root(const char *xml, size_t len, char *out, size_t size);

/* Adds text with the characters that XML reserves escaped. */
void vmbi_s3_xml_escape(vmbi_buf *out, const char *text);

#endif
