/* SPDX-License-Identifier: Apache-2.0 */
/* The config file and the polynomial of the chunker.
 * Source: restic internal/restic/config.go, chunker polynomials.go. */
#ifndef VMBI_REPO_RESTIC_CONFIG_H
#define VMBI_REPO_RESTIC_CONFIG_H

#include "base/buf.h"
#include "repo/repo.h"

typedef struct vmbi_restic_config {
    uint32_t version;
    char id[VMBI_REPO_HEX_SIZE];
    uint64_t polynomial;
} vmbi_restic_config;

vmb_code vmbi_restic_config_parse(const char *text, size_t len, vmbi_restic_config *out,
                                  vmb_error **err);
void vmbi_restic_config_print(const vmbi_restic_config *c, vmbi_buf *out);

/* Polynomials over GF(2) as bit vectors. Degree of 0: -1. */
int vmbi_gf2_degree(uint64_t f);
uint64_t vmbi_gf2_mod(uint64_t a, uint64_t f);
bool vmbi_gf2_irreducible(uint64_t f);
/* A random irreducible one of degree 53. */
uint64_t vmbi_gf2_random(void);

#endif
