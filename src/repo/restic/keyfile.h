/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: the master keys under a password. Source: restic internal/repository/key.go. */
#ifndef VMBI_REPO_RESTIC_KEYFILE_H
#define VMBI_REPO_RESTIC_KEYFILE_H

#include "base/buf.h"
#include "repo/restic/crypto.h"

enum {
    VMBI_RESTIC_SALT = 64,
    VMBI_RESTIC_KEY_MAX_BYTES = 64 << 10, /* of a key file */
    VMBI_RESTIC_KEY_TRIES = 20
};
/* The most that scrypt may take of memory and of work (N * r * p) for somebody's key file. */
#define VMBI_RESTIC_SCRYPT_MAX_BYTES (UINT64_C(1) << 30)
#define VMBI_RESTIC_SCRYPT_MAX_WORK (UINT64_C(1) << 28)

typedef struct vmbi_restic_keyfile {
    char created[48];
    char username[128]; /* cut when longer */
    char hostname[128];
    uint64_t n;
    uint32_t r, p;
    uint8_t salt[VMBI_RESTIC_SALT];
    uint8_t data[512]; /* sealed master key */
    size_t data_len;
} vmbi_restic_keyfile;

/* VMB_E_PARSE or VMB_E_INVALID when the text is no key file. */
vmb_code vmbi_restic_keyfile_parse(const char *text, size_t len, vmbi_restic_keyfile *out,
                                   vmb_error **err);
vmb_code vmbi_restic_keyfile_print(const vmbi_restic_keyfile *k, vmbi_buf *out, vmb_error **err);
/* VMB_E_DENIED: the password is wrong. */
vmb_code vmbi_restic_keyfile_unlock(const vmbi_restic_keyfile *k, const void *password, size_t len,
                                    vmbi_restic_keys *master, vmb_error **err);
/* n, r, p, created, username and hostname are set by the caller; salt and data here. */
vmb_code vmbi_restic_keyfile_seal(vmbi_restic_keyfile *k, const void *password, size_t len,
                                  const vmbi_restic_keys *master, vmb_error **err);

#endif
