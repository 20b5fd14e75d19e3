/* SPDX-License-Identifier: Apache-2.0 */
/* The C side of the Go binding: Go cannot call C function pointers and C must not keep Go pointers,
 * so `user` is the number of a cgo.Handle and each callback goes through a function here. */
#ifndef VMBACKUP_GO_BRIDGE_H
#define VMBACKUP_GO_BRIDGE_H

#include <stdint.h>
#include <vmbackup/vmbackup.h>

vmb_code bridge_add_store(vmb_ctx *ctx, const char *location, const char *prefix, int32_t is_default,
                          uintptr_t user, vmb_error **err);
vmb_code bridge_add_exec(vmb_ctx *ctx, uintptr_t user, vmb_error **err);
vmb_code bridge_set_event_fn(vmb_run *run, uintptr_t user, vmb_error **err);
vmb_code bridge_repo_set_event_fn(vmb_repo *repo, uintptr_t user, vmb_error **err);
vmb_code bridge_read(vmb_catalog *cat, const char *backup, int32_t file, uintptr_t user,
                     vmb_error **err);
const char *bridge_word(const char *const *argv, size_t i);

#endif
