/* SPDX-License-Identifier: Apache-2.0 */
/* From libyaml's events to one tree per document. */
#ifndef VMBI_CODEC_YAML_EVENTS_H
#define VMBI_CODEC_YAML_EVENTS_H

#include "codec/positions.h"

typedef struct vmbi_yaml_reader vmbi_yaml_reader;

/* The text must be valid UTF-8 and outlive the reader; hint may be NULL. A document of more than
 * max_nodes nodes, aliases expanded, is VMB_E_LIMIT. */
vmb_code vmbi_yaml_reader_new(const char *text, size_t len, const char *what, vmbi_doc_hint hint,
                              size_t max_nodes, vmbi_yaml_reader **out, vmb_error **err);
void vmbi_yaml_reader_free(vmbi_yaml_reader *r);
/* Next document; *doc NULL at the end of the stream. An empty document gives JSON null. *line is
 * where its content starts. positions may be NULL. */
vmb_code vmbi_yaml_reader_next(vmbi_yaml_reader *r, vmbi_json **doc, int *line,
                               vmbi_positions **positions, vmb_error **err);

#endif
