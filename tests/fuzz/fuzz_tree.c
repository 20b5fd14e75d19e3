/* SPDX-License-Identifier: Apache-2.0 */
/* Trees: what is accepted as a node has a name that stays in its directory, and prints as a node
 * that is accepted too and prints the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/jscan.h"
#include "repo/tree/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const vmbi_node *n)
{
    if (n->name[0] == '\0' || strchr(n->name, '/') != NULL || strcmp(n->name, ".") == 0 ||
        strcmp(n->name, "..") == 0) {
        abort();
    }
}

static void print_and_read_again(const vmbi_node *n)
{
    vmbi_buf first = VMBI_BUF_INIT(64 << 20);
    vmbi_buf second = VMBI_BUF_INIT(64 << 20);
    vmbi_node again = {0};
    vmbi_node_print(n, &first);
    if (first.status == VMB_OK) {
        if (vmbi_node_parse(first.data, first.len, &again, NULL) != VMB_OK) {
            abort();
        }
        check_name(&again);
        vmbi_node_print(&again, &second);
        if (second.len != first.len || memcmp(first.data, second.data, first.len) != 0) {
            abort();
        }
        vmbi_node_done(&again);
    }
    vmbi_buf_free(&first);
    vmbi_buf_free(&second);
}

/* Both ways of reading a node give the same. */
static void same_print(const vmbi_node *a, const vmbi_node *b)
{
    vmbi_buf x = VMBI_BUF_INIT(64 << 20);
    vmbi_buf y = VMBI_BUF_INIT(64 << 20);
    vmbi_node_print(a, &x);
    vmbi_node_print(b, &y);
    if (x.len != y.len || (x.len > 0 && memcmp(x.data, y.data, x.len) != 0)) {
        abort();
    }
    vmbi_buf_free(&x);
    vmbi_buf_free(&y);
}

static void see_node(const char *json, size_t len)
{
    vmbi_node n = {0};
    vmbi_node full = {0};
    char mode[VMBI_NODE_MODE_SIZE];
    vmb_code rc = vmbi_node_parse(json, len, &n, NULL);
    if (vmbi_node_parse_full(json, len, &full, NULL) != rc) {
        abort();
    }
    if (rc != VMB_OK) {
        return;
    }
    same_print(&n, &full);
    vmbi_node_done(&full);
    check_name(&n);
    vmbi_node_mode_text(n.mode, mode);
    (void)vmbi_node_st_mode(n.mode);
    print_and_read_again(&n);
    vmbi_node_done(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    vmbi_slice nodes;
    vmbi_slice item;
    vmbi_jscan scan;
    if (size > 0 && text[0] == '{' && vmbi_jscan_find(text, size, "nodes", &nodes) &&
        vmbi_jscan_array(&scan, nodes.p, nodes.len)) {
        while (vmbi_jscan_element(&scan, &item) == 1) {
            see_node(item.p, item.len);
        }
    } else if (size > 0) {
        see_node(text, size);
    }
    return 0;
}
