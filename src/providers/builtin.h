/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the built-in providers. Each fills a vtable that the caller registers like any
 * outsider's; the composition happens in api/. Settings are borrowed trees; unknown settings are
 * refused with VMB_E_ARG and a message that lists the known ones. On failure *out is untouched. */
#ifndef VMBI_PROVIDERS_BUILTIN_H
#define VMBI_PROVIDERS_BUILTIN_H

#include <vmbackup/provider.h>
#include <vmbackup/volume.h>

#include "codec/json.h"

/* {"kubeconfig","context","namespace","qps","burst","prefetch","compression","userAgent"}; settings
 * may be NULL. exec_out may be NULL. Both vtables share one client. */
vmb_code vmbi_cluster_kube_new(const vmbi_json *settings, vmb_cluster_provider *out,
                               vmb_exec_provider *exec_out, vmb_error **err);
/* The exec part alone, over a client of kube/; holds a reference to it. */
struct vmbi_kube;
void vmbi_exec_kube_fill(struct vmbi_kube *client, vmb_exec_provider *out);
/* {"path"}: a folder of *.yaml, *.yml, *.json manifests, read recursively in byte order. */
vmb_code vmbi_cluster_dir_new(const vmbi_json *settings, vmb_cluster_provider *out,
                              vmb_error **err);

/* Stores take {"bucket", "config":{…the BSL's config…}, "caCert": PEM text,
 * "credentials": text of an AWS credentials file, optional}. prefix is the caller's business. */
vmb_code vmbi_store_s3_new(const vmbi_json *settings, vmb_store_provider *out, vmb_error **err);
vmb_code vmbi_store_libs3_new(const vmbi_json *settings, vmb_store_provider *out,
                              vmb_error **err);
/* {"config":{"path":"/folder"}}; "bucket" names a folder below it when given. */
vmb_code vmbi_store_dir_new(const vmbi_json *settings, vmb_store_provider *out, vmb_error **err);

vmb_code vmbi_snapshot_csi_new(const vmbi_json *settings, vmb_snapshot_provider *out,
                               vmb_error **err);

/* {"password"|"passwordFile","hostPods","node","namespace","compression","lockWait","threads"} */
vmb_code vmbi_volume_repo_new(const vmbi_json *settings, vmb_volume_provider *out,
                              vmb_error **err);

/* A regular file or a block device as a disk; see vmb_blocks_open_file(). */
vmb_code vmbi_blocks_file_new(const char *path, bool write, vmb_blocks_provider *out,
                              vmb_error **err);

/* Actions come as several providers; each is given to `add`, which owns it from then on. */
typedef vmb_code (*vmbi_action_add_fn)(void *user, const vmb_action_provider *p, vmb_error **err);
vmb_code vmbi_actions_kubernetes(vmbi_action_add_fn add, void *user, vmb_error **err);
vmb_code vmbi_actions_kubevirt(vmbi_action_add_fn add, void *user, vmb_error **err);

#endif
