/* SPDX-License-Identifier: Apache-2.0 */
/* The actions of this folder; each fills a vtable. Private to this provider. */
#ifndef VMBI_ACTIONS_KUBERNETES_H
#define VMBI_ACTIONS_KUBERNETES_H

#include <vmbackup/provider.h>

#include "codec/json.h"

vmb_code vmbi_claims_action(vmb_action_provider *out, vmb_error **err);
vmb_code vmbi_accounts_action(vmb_action_provider *out, vmb_error **err);

#endif
