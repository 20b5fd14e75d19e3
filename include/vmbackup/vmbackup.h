/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vmbackup.h
 * @brief Everything: include this one.
 */
#ifndef VMBACKUP_VMBACKUP_H
#define VMBACKUP_VMBACKUP_H

#include <vmbackup/base.h>
#include <vmbackup/version.h>
#include <vmbackup/selector.h>
#include <vmbackup/spec.h>
#include <vmbackup/provider.h>
#include <vmbackup/context.h>
#include <vmbackup/run.h>
#include <vmbackup/catalog.h>
#include <vmbackup/control.h>
#include <vmbackup/volume.h>
#include <vmbackup/repo.h>
#include <vmbackup/schedule.h>

#endif
