/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tree/: nodes of ordinary files and folders, read quickly. */
#ifndef VMBI_REPO_TREE_NODESCAN_H
#define VMBI_REPO_TREE_NODESCAN_H

#include "repo/tree/node.h"

/* False: not ordinary, malformed, or no memory; the full parser says what. What is accepted, that
 * one accepts too, with the same node. */
bool vmbi_node_scan(const char *json, size_t len, vmbi_node *out);

#endif
