/* SPDX-License-Identifier: Apache-2.0 */
/* A small cluster's discovery document, as a cluster provider writes it. */
#ifndef TEST_MODEL_CLUSTER_H
#define TEST_MODEL_CLUSTER_H

/* ISO C99 promises literals of 4095 bytes only; the compilers that build the tests take more. */
#pragma GCC diagnostic ignored "-Woverlength-strings"

#define ALL_VERBS "\"verbs\":[\"create\",\"delete\",\"get\",\"list\",\"patch\",\"update\",\"watch\"]"
#define RES(name, singular, kind, namespaced, shorts)                                              \
    "{\"name\":\"" name "\",\"singularName\":\"" singular "\",\"kind\":\"" kind                     \
    "\",\"namespaced\":" namespaced ",\"shortNames\":[" shorts "]," ALL_VERBS "}"

static const char cluster_discovery[] =
    "{\"serverVersion\":{\"gitVersion\":\"v1.31.2\",\"major\":\"1\",\"minor\":\"31\"},"
    "\"warnings\":[\"group metrics.k8s.io: unavailable\"],\"groups\":["
    /* core; deliberately not in the order of collection */
    "{\"group\":\"\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\",\"resources\":["
    RES("configmaps", "configmap", "ConfigMap", "true", "\"cm\"") ","
    RES("events", "event", "Event", "true", "\"ev\"") ","
    RES("namespaces", "namespace", "Namespace", "false", "\"ns\"") ","
    RES("nodes", "node", "Node", "false", "\"no\"") ","
    RES("persistentvolumes", "persistentvolume", "PersistentVolume", "false", "\"pv\"") ","
    RES("persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", "true",
        "\"pvc\"") ","
    RES("pods", "pod", "Pod", "true", "\"po\"") ","
    "{\"name\":\"pods/log\",\"kind\":\"Pod\",\"namespaced\":true,\"verbs\":[\"get\"]},"
    "{\"name\":\"bindings\",\"kind\":\"Binding\",\"namespaced\":true,\"verbs\":[\"create\"]}"
    "]}]},"
    "{\"group\":\"extensions\",\"preferredVersion\":\"v1beta1\",\"versions\":[{\"version\":"
    "\"v1beta1\",\"resources\":[" RES("deployments", "deployment", "Deployment", "true",
                                      "\"deploy\"") "]}]},"
    "{\"group\":\"apps\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1beta2\","
    "\"resources\":[" RES("deployments", "deployment", "Deployment", "true", "\"deploy\"") ","
    RES("olds", "old", "Old", "true", "") "]},"
    "{\"version\":\"v1\",\"resources\":["
    RES("deployments", "deployment", "Deployment", "true", "\"deploy\"") ","
    RES("statefulsets", "", "StatefulSet", "true", "\"sts\"") "]}]},"
    "{\"group\":\"authentication.k8s.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":"
    "\"v1\",\"resources\":[{\"name\":\"tokenreviews\",\"kind\":\"TokenReview\",\"namespaced\":"
    "false,\"verbs\":[\"create\"]}]}]},"
    "{\"group\":\"storage.k8s.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\","
    "\"resources\":[" RES("storageclasses", "storageclass", "StorageClass", "false", "\"sc\"")
    "]}]},"
    "{\"group\":\"apiextensions.k8s.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":"
    "\"v1\",\"resources\":[" RES("customresourcedefinitions", "customresourcedefinition",
                                 "CustomResourceDefinition", "false", "\"crd\",\"crds\"") "]}]},"
    "{\"group\":\"snapshot.storage.k8s.io\",\"preferredVersion\":\"v1\",\"versions\":[{"
    "\"version\":\"v1\",\"resources\":["
    RES("volumesnapshots", "volumesnapshot", "VolumeSnapshot", "true", "\"vs\"") ","
    RES("volumesnapshotcontents", "volumesnapshotcontent", "VolumeSnapshotContent", "false",
        "\"vsc\"") "]}]},"
    "{\"group\":\"kubevirt.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\","
    "\"resources\":[" RES("virtualmachines", "virtualmachine", "VirtualMachine", "true",
                          "\"vm\",\"vms\"") "]}]},"
    "{\"group\":\"velero.io\",\"preferredVersion\":\"v1\",\"versions\":[{\"version\":\"v1\","
    "\"resources\":[" RES("backups", "backup", "Backup", "true", "") "]}]}"
    "]}";

#endif
