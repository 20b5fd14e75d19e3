/* SPDX-License-Identifier: Apache-2.0 */
#include "core/vtable.h"

#include <string.h>

#include <vmbackup/provider.h>

#include "base/error.h"

vmb_code vmbi_vtable_copy(void *dst, size_t dst_size, size_t min_size, const void *src,
                          const char *kind, vmb_error **err)
{
    vmbi_vtable_head head;
    memcpy(&head, src, sizeof(head));
    if (head.struct_size < min_size) {
        return vmbi_fail(err, VMB_E_ARG,
                         "%s: struct_size is %zu, at least %zu is needed: set it to sizeof", kind,
                         head.struct_size, min_size);
    }
    if (head.api_version != VMB_PROVIDER_API) {
        return vmbi_fail(err, VMB_E_ARG, "%s: api_version is %u, this library speaks %u", kind,
                         (unsigned)head.api_version, (unsigned)VMB_PROVIDER_API);
    }
    if (head.name == NULL || head.name[0] == '\0') {
        return vmbi_fail(err, VMB_E_ARG, "%s: name is missing", kind);
    }
    memset(dst, 0, dst_size);
    memcpy(dst, src, head.struct_size < dst_size ? head.struct_size : dst_size);
    return VMB_OK;
}

void vmbi_vtable_destroy(const void *table)
{
    vmbi_vtable_head head;
    memcpy(&head.struct_size, table, sizeof(head.struct_size));
    if (head.struct_size >= sizeof(head)) {
        memcpy(&head, table, sizeof(head));
        if (head.destroy != NULL) {
            head.destroy(head.user);
        }
    }
}
