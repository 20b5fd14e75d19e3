/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file base.h
 * @brief Result codes, handles and the error object that every other header uses.
 *
 * Conventions of the whole API:
 *  - a fallible function returns vmb_code (0 = success, negative = failure) and takes
 *    `vmb_error **err` last, which may be NULL. On failure `*err` receives an owned error, to be
 *    released with vmb_error_free(). Outputs are untouched on failure, save that a pointer to a
 *    handle that was to be made is NULL then, unless an argument was NULL that must not be.
 *  - every function accepts NULL where a pointer is expected: functions that can fail return
 *    VMB_E_ARG unless NULL is allowed, getters return 0, NULL or "", releases do nothing. Handles
 *    that were released already, and pointers to something else, are not recognised.
 *  - VMB_E_NOMEM can come from every function that can fail; lists of codes leave it out.
 *  - names are NUL-terminated UTF-8 strings, documents are (pointer, length) and need no NUL.
 *  - `const char *` results are borrowed from the handle they came from; `char **out` results are
 *    owned and released with vmb_free().
 *  - functions that take a text and its length take NULL only with the length 0.
 *  - durations are int64_t nanoseconds (-1 = no limit), instants int64_t nanoseconds since the
 *    Unix epoch.
 *  - yes/no values are int32_t 0 or 1.
 */
#ifndef VMBACKUP_BASE_H
#define VMBACKUP_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VMB_API __attribute__((visibility("default")))
#else
#define VMB_API
#endif

/** Result of a fallible function: VMB_OK or one of the negative VMB_E_ codes. */
typedef int32_t vmb_code;

/** Values of vmb_code. Values are never renumbered; new ones may be added. */
enum {
    VMB_OK = 0,
    VMB_E_ARG = -1,         /**< an argument is NULL, out of range or unknown: a caller's mistake */
    VMB_E_NOMEM = -2,       /**< memory could not be had */
    VMB_E_STATE = -3,       /**< the call is not allowed now (frozen context, re-entry, finished run) */
    VMB_E_INVALID = -4,     /**< a document is well-formed but its content is not acceptable */
    VMB_E_PARSE = -5,       /**< a document or string is malformed */
    VMB_E_NOT_FOUND = -6,   /**< the named object, key or file does not exist */
    VMB_E_EXISTS = -7,      /**< the object or key exists already */
    VMB_E_DENIED = -8,      /**< credentials were refused or a permission is missing */
    VMB_E_TIMEOUT = -9,     /**< a deadline passed */
    VMB_E_CANCELLED = -10,  /**< the run was cancelled */
    VMB_E_IO = -11,         /**< a file operation failed */
    VMB_E_NET = -12,        /**< a connection failed or broke */
    VMB_E_PROTOCOL = -13,   /**< the peer answered something its protocol does not allow */
    VMB_E_LIMIT = -14,      /**< a size, depth or count limit was exceeded */
    VMB_E_UNSUPPORTED = -15, /**< the provider or build cannot do this */
    VMB_E_PROVIDER = -16,   /**< a provider broke its contract */
    VMB_E_FORKED = -17,     /**< a handle was used in a child process of its creator */
    VMB_E_CONFLICT = -18,   /**< the object changed meanwhile (HTTP 409, 412), or is locked */
    VMB_E_GONE = -19,       /**< a list continuation or watch position expired (HTTP 410) */
    VMB_E_FULL = -20,       /**< no space left in the store or on the device */
    VMB_E_SERVER = -21,     /**< the server failed (HTTP 5xx, 429) after all retries */
    VMB_E_INTERNAL = -22    /**< a defect of the library */
};

/** Flags of an error, see vmb_error_flags(). */
enum {
    VMB_ERROR_RETRYABLE = 1 /**< the same call may succeed later without any change */
};

typedef struct vmb_error vmb_error;         /**< why a call failed; immutable, any thread may read */
typedef struct vmb_ctx vmb_ctx;             /**< settings, providers, locations; see context.h */
typedef struct vmb_spec vmb_spec;           /**< a Backup resource; see spec.h */
typedef struct vmb_selector vmb_selector;   /**< a compiled label selector; see selector.h */
typedef struct vmb_run vmb_run;             /**< one execution of a backup; see run.h */
typedef struct vmb_event vmb_event;         /**< progress of a run; see run.h */
typedef struct vmb_catalog vmb_catalog;     /**< what a storage location holds; see catalog.h */

/** Code of an error; VMB_OK for NULL. Any thread, as the next two. */
VMB_API vmb_code vmb_error_code(const vmb_error *e);
/** Message: lower case, no newline, names the object, holds no secret; "" for NULL. Borrowed. */
VMB_API const char *vmb_error_message(const vmb_error *e);
/** Bit set of VMB_ERROR_ flags; 0 for NULL. */
VMB_API uint32_t vmb_error_flags(const vmb_error *e);
/** Releases an error, from any thread, once; NULL is allowed. */
VMB_API void vmb_error_free(vmb_error *e);
/**
 * Stores a new error in *slot, for callbacks that report failure to the library. A former error
 * in the slot is released. Does nothing when slot is NULL.
 * @param slot  the `err` parameter of the callback, may be NULL
 * @param code  a negative VMB_E_ code
 * @param flags bit set of VMB_ERROR_ flags
 * @param msg   NUL-terminated text, copied; may be NULL
 */
VMB_API void vmb_error_set(vmb_error **slot, vmb_code code, uint32_t flags, const char *msg);
/** Stable name of a code ("VMB_E_TIMEOUT"); "VMB_E_UNKNOWN" for others. Static string. */
VMB_API const char *vmb_code_name(vmb_code code);

/**
 * Releases memory that the library handed out through a `char **` output. NULL is allowed. Any
 * thread. Such memory holds no NUL but its last byte, which a length does not count.
 */
VMB_API void vmb_free(void *p);

#ifdef __cplusplus
}
#endif
#endif
