/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "providers/actions_kubevirt/graph.h"
#include "providers/builtin.h"

/* KubeVirt creates the instance of a starting machine within a second or two. */
#define INSTANCE_WAIT (5 * VMBI_SECOND)

static vmb_code machines(vmb_action_provider *out, vmb_error **err)
{
    return vmbi_vm_action(INSTANCE_WAIT, out, err);
}

vmb_code vmbi_actions_kubevirt(vmbi_action_add_fn add, void *user, vmb_error **err)
{
    static vmb_code (*const make[])(vmb_action_provider *,
                                    vmb_error **) = {machines, vmbi_vmi_action, vmbi_disks_action};
    for (size_t i = 0; i < VMBI_ARRAY_LEN(make); i++) {
        vmb_action_provider p;
        vmb_code code = make[i](&p, err);
        if (code == VMB_OK) {
            code = add(user, &p, err);
        }
        if (code != VMB_OK) {
            return code;
        }
    }
    return VMB_OK;
}
