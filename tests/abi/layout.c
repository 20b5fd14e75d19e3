/* SPDX-License-Identifier: Apache-2.0 */
/* Prints size and offsets of the provider vtables, the only public structures. tests/abi/layout.py
 * compares them with layout.txt and with the Python binding. */
#include <stdio.h>
#include <vmbackup/vmbackup.h>

#define SIZE(type) printf("%s sizeof %zu\n", #type, sizeof(struct type))
#define FIELD(type, field) printf("%s %s %zu\n", #type, #field, offsetof(struct type, field))
#define HEAD(type)                                                                                 \
    SIZE(type);                                                                                    \
    FIELD(type, struct_size);                                                                      \
    FIELD(type, api_version);                                                                      \
    FIELD(type, flags);                                                                            \
    FIELD(type, name);                                                                             \
    FIELD(type, user);                                                                             \
    FIELD(type, destroy)

static void cluster_and_exec(void)
{
    HEAD(vmb_cluster_provider);
    FIELD(vmb_cluster_provider, discover);
    FIELD(vmb_cluster_provider, list);
    FIELD(vmb_cluster_provider, get);
    FIELD(vmb_cluster_provider, create);
    FIELD(vmb_cluster_provider, patch);
    FIELD(vmb_cluster_provider, remove);
    FIELD(vmb_cluster_provider, watch);
    HEAD(vmb_exec_provider);
    FIELD(vmb_exec_provider, exec);
}

static void store(void)
{
    HEAD(vmb_store_provider);
    FIELD(vmb_store_provider, put_begin);
    FIELD(vmb_store_provider, put_write);
    FIELD(vmb_store_provider, put_commit);
    FIELD(vmb_store_provider, put_abort);
    FIELD(vmb_store_provider, get);
    FIELD(vmb_store_provider, stat);
    FIELD(vmb_store_provider, list);
    FIELD(vmb_store_provider, remove);
    FIELD(vmb_store_provider, presign);
    FIELD(vmb_store_provider, sweep);
}

static void snapshot_and_action(void)
{
    HEAD(vmb_snapshot_provider);
    FIELD(vmb_snapshot_provider, bid);
    FIELD(vmb_snapshot_provider, begin);
    FIELD(vmb_snapshot_provider, poll);
    FIELD(vmb_snapshot_provider, describe);
    FIELD(vmb_snapshot_provider, finish);
    FIELD(vmb_snapshot_provider, cancel);
    FIELD(vmb_snapshot_provider, op_free);
    HEAD(vmb_action_provider);
    FIELD(vmb_action_provider, applies_to);
    FIELD(vmb_action_provider, backup);
}

static void blocks_and_volume(void)
{
    HEAD(vmb_blocks_provider);
    FIELD(vmb_blocks_provider, size);
    FIELD(vmb_blocks_provider, pread);
    FIELD(vmb_blocks_provider, extents);
    FIELD(vmb_blocks_provider, state);
    FIELD(vmb_blocks_provider, resize);
    FIELD(vmb_blocks_provider, pwrite);
    FIELD(vmb_blocks_provider, zero);
    FIELD(vmb_blocks_provider, flush);
    HEAD(vmb_volume_provider);
    FIELD(vmb_volume_provider, bid);
    FIELD(vmb_volume_provider, backup);
    FIELD(vmb_volume_provider, restore);
    FIELD(vmb_volume_provider, remove);
    FIELD(vmb_volume_provider, verify);
}

int main(void)
{
    cluster_and_exec();
    store();
    snapshot_and_action();
    blocks_and_volume();
    return 0;
}
