#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Stands for the guest of examples/demo-cluster, whose pods exist as manifests only: vmbackup calls
# it for each hook (--exec-command) with namespace, pod, container and the command of the hook.
ns=$1
pod=$2
container=$3
shift 3
echo "$ns/$pod, container $container, was asked to run: $*"
