/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes and checked helpers that the whole library uses. */
#ifndef VMBI_BASE_COMPILER_H
#define VMBI_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMBI_PRINTF(fmt_index, args_index) \
    __attribute__((format(printf, fmt_index, args_index)))
#define VMBI_MUST_USE __attribute__((warn_unused_result))
#define VMBI_LIKELY(x) __builtin_expect(!!(x), 1)
#define VMBI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define VMBI_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
