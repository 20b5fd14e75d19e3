/* SPDX-License-Identifier: Apache-2.0 */
/* Key files and configs: what is accepted prints as a file that means the same. scrypt itself is
 * not run. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "repo/restic/config.h"
#include "repo/restic/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_key(const char *text, size_t size)
{
    vmbi_buf out = VMBI_BUF_INIT(VMBI_RESTIC_KEY_MAX_BYTES);
    vmbi_restic_keyfile k, again;

    if (vmbi_restic_keyfile_parse(text, size, &k, NULL) != VMB_OK) {
        return;
    }
    if (vmbi_restic_keyfile_print(&k, &out, NULL) != VMB_OK ||
        vmbi_restic_keyfile_parse(out.data, out.len, &again, NULL) != VMB_OK || again.n != k.n ||
        again.r != k.r || again.p != k.p || again.data_len != k.data_len ||
        memcmp(again.salt, k.salt, sizeof(k.salt)) != 0 ||
        memcmp(again.data, k.data, k.data_len) != 0) {
        abort();
    }
    vmbi_buf_free(&out);
}

static void try_config(const char *text, size_t size)
{
    vmbi_buf out = VMBI_BUF_INIT(4096);
    vmbi_restic_config c, again;

    if (vmbi_restic_config_parse(text, size, &c, NULL) != VMB_OK) {
        return;
    }
    vmbi_restic_config_print(&c, &out);
    if (vmbi_restic_config_parse(out.data, out.len, &again, NULL) != VMB_OK ||
        again.version != c.version || again.polynomial != c.polynomial ||
        strcmp(again.id, c.id) != 0) {
        abort();
    }
    vmbi_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_key((const char *)data, size);
    try_config((const char *)data, size);
    return 0;
}
