/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/restic/keyfile.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "codec/cipher.h"
#include "codec/digest.h"
#include "codec/json.h"

/* The master key as JSON text has 128 bytes; others may print it with white space. */
enum { MASTER_MAX = 512 - VMBI_RESTIC_OVERHEAD };

static void copy_text(char *out, size_t size, const char *text)
{
    const size_t len = text != NULL ? strlen(text) : 0;
    const size_t n = len < size ? len : size - 1;

    if (n > 0) {
        memcpy(out, text, n);
    }
    out[n] = '\0';
}

/* Base64 text of at most max bytes; min: exactly that many when equal to max. */
static vmb_code bytes_of(const vmbi_json *v, const char *what, size_t min, size_t max, uint8_t *out,
                         size_t *out_len, vmb_error **err)
{
    const char *text = vmbi_json_str(v);
    uint8_t *raw = NULL;
    size_t len = 0;
    vmb_code code = VMB_OK;

    if (text == NULL) {
        return vmbi_fail(err, VMB_E_INVALID, "key file: \"%s\" is missing or no string", what);
    }
    code = vmbi_unbase64(text, vmbi_json_str_len(v), &raw, &len, err);
    if (code != VMB_OK) {
        return vmbi_wrap(err, code, "key file: \"%s\"", what);
    }
    if (len < min || len > max) {
        code = vmbi_fail(err, VMB_E_INVALID, "key file: \"%s\" has %zu bytes", what, len);
    } else {
        memcpy(out, raw, len);
        *out_len = len;
    }
    explicit_bzero(raw, len);
    vmbi_free(raw);
    return code;
}

static vmb_code numbers_of(const vmbi_json *v, vmbi_restic_keyfile *k, vmb_error **err)
{
    const char *kdf = vmbi_json_get_str(v, "kdf");
    const int64_t n = vmbi_json_int(vmbi_json_get(v, "N"), 0);
    const int64_t r = vmbi_json_int(vmbi_json_get(v, "r"), 0);
    const int64_t p = vmbi_json_int(vmbi_json_get(v, "p"), 0);

    if (kdf == NULL || strcmp(kdf, "scrypt") != 0) {
        return vmbi_fail(err, VMB_E_UNSUPPORTED, "key file: the key derivation is not scrypt");
    }
    /* The bounds of restic; N is checked further by scrypt itself. */
    if (n < 2 || (n & (n - 1)) != 0 || r < 1 || p < 1 || r >= (1 << 30) || p >= (1 << 30) ||
        r * p >= (1 << 30) || n > INT32_MAX / 128 / r) {
        return vmbi_fail(err, VMB_E_INVALID, "key file: the scrypt parameters are not allowed");
    }
    if ((uint64_t)n * (uint64_t)r * (uint64_t)p > VMBI_RESTIC_SCRYPT_MAX_WORK) {
        return vmbi_fail(err, VMB_E_LIMIT, "key file: the scrypt parameters ask for too much work");
    }
    k->n = (uint64_t)n;
    k->r = (uint32_t)r;
    k->p = (uint32_t)p;
    return VMB_OK;
}

vmb_code vmbi_restic_keyfile_parse(const char *text, size_t len, vmbi_restic_keyfile *out,
                                   vmb_error **err)
{
    vmbi_restic_keyfile k;
    vmbi_json *v = NULL;
    size_t salt_len = 0;
    vmb_code code = vmbi_json_parse(text, len, "key file", &v, err);

    memset(&k, 0, sizeof(k));
    if (code == VMB_OK) {
        code = numbers_of(v, &k, err);
    }
    if (code == VMB_OK) {
        code = bytes_of(vmbi_json_get(v, "salt"), "salt", VMBI_RESTIC_SALT, VMBI_RESTIC_SALT,
                        k.salt, &salt_len, err);
    }
    if (code == VMB_OK) {
        code = bytes_of(vmbi_json_get(v, "data"), "data", VMBI_RESTIC_OVERHEAD + 1, sizeof(k.data),
                        k.data, &k.data_len, err);
    }
    if (code == VMB_OK) {
        copy_text(k.created, sizeof(k.created), vmbi_json_get_str(v, "created"));
        copy_text(k.username, sizeof(k.username), vmbi_json_get_str(v, "username"));
        copy_text(k.hostname, sizeof(k.hostname), vmbi_json_get_str(v, "hostname"));
        *out = k;
    }
    vmbi_json_free(v);
    return code;
}

static void add_base64(vmbi_buf *out, const uint8_t *data, size_t len)
{
    char text[700]; /* 512 bytes take 685 */

    vmbi_base64(data, len, text);
    vmbi_buf_addc(out, '"');
    vmbi_buf_adds(out, text);
    vmbi_buf_addc(out, '"');
    explicit_bzero(text, sizeof(text));
}

vmb_code vmbi_restic_keyfile_print(const vmbi_restic_keyfile *k, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_adds(out, "{\"created\":");
    vmbi_buf_add_json_string(out, k->created, strlen(k->created));
    vmbi_buf_adds(out, ",\"username\":");
    vmbi_buf_add_json_string(out, k->username, strlen(k->username));
    vmbi_buf_adds(out, ",\"hostname\":");
    vmbi_buf_add_json_string(out, k->hostname, strlen(k->hostname));
    vmbi_buf_addf(out, ",\"kdf\":\"scrypt\",\"N\":%llu,\"r\":%u,\"p\":%u,\"salt\":",
                  (unsigned long long)k->n, (unsigned)k->r, (unsigned)k->p);
    add_base64(out, k->salt, sizeof(k->salt));
    vmbi_buf_adds(out, ",\"data\":");
    add_base64(out, k->data, k->data_len);
    vmbi_buf_addc(out, '}');
    return vmbi_buf_check(out, err, "key file");
}

/* The keys that the password gives. */
static vmb_code user_box(const vmbi_restic_keyfile *k, const void *password, size_t len,
                         vmbi_restic_box **out, vmb_error **err)
{
    uint8_t raw[64];
    vmbi_restic_keys keys;
    vmb_code code = vmbi_scrypt(password, len, k->salt, sizeof(k->salt), k->n, k->r, k->p,
                                VMBI_RESTIC_SCRYPT_MAX_BYTES, raw, sizeof(raw), err);

    if (code == VMB_OK) {
        memcpy(keys.encrypt, raw, 32);
        memcpy(keys.mac_k, raw + 32, 16);
        memcpy(keys.mac_r, raw + 48, 16);
        code = vmbi_restic_box_new(&keys, out, err);
        explicit_bzero(&keys, sizeof(keys));
    }
    explicit_bzero(raw, sizeof(raw));
    return code;
}

static vmb_code parse_master(const char *text, size_t len, vmbi_restic_keys *out, vmb_error **err)
{
    vmbi_restic_keys keys;
    vmbi_json *v = NULL;
    size_t n = 0;
    vmb_code code = vmbi_json_parse(text, len, "master key", &v, NULL); /* the text is a secret */

    if (code != VMB_OK) {
        return vmbi_fail(err, code, "key file: the master key in it is malformed");
    }
    code = bytes_of(vmbi_json_path(v, "mac.k"), "mac.k", 16, 16, keys.mac_k, &n, err);
    if (code == VMB_OK) {
        code = bytes_of(vmbi_json_path(v, "mac.r"), "mac.r", 16, 16, keys.mac_r, &n, err);
    }
    if (code == VMB_OK) {
        code = bytes_of(vmbi_json_get(v, "encrypt"), "encrypt", 32, 32, keys.encrypt, &n, err);
    }
    vmbi_json_free(v);
    if (code == VMB_OK) {
        *out = keys;
    }
    explicit_bzero(&keys, sizeof(keys));
    return code;
}

vmb_code vmbi_restic_keyfile_unlock(const vmbi_restic_keyfile *k, const void *password, size_t len,
                                    vmbi_restic_keys *master, vmb_error **err)
{
    uint8_t text[sizeof(k->data)];
    vmbi_restic_box *box = NULL;
    vmb_error *why = NULL;
    vmb_code code = user_box(k, password, len, &box, err);

    if (code != VMB_OK) {
        return code;
    }
    code = vmbi_restic_open(box, k->data, k->data_len, text, &why);
    if (code == VMB_E_DENIED) {
        vmb_error_free(why);
        code = vmbi_fail(err, VMB_E_DENIED, "the password does not open this key");
    } else if (code != VMB_OK) {
        vmbi_error_move(err, &why);
    } else {
        code = parse_master((const char *)text, k->data_len - VMBI_RESTIC_OVERHEAD, master, err);
    }
    explicit_bzero(text, sizeof(text));
    vmbi_restic_box_free(box);
    return code;
}

static vmb_code print_master(const vmbi_restic_keys *master, vmbi_buf *out, vmb_error **err)
{
    vmbi_buf_adds(out, "{\"mac\":{\"k\":");
    add_base64(out, master->mac_k, 16);
    vmbi_buf_adds(out, ",\"r\":");
    add_base64(out, master->mac_r, 16);
    vmbi_buf_adds(out, "},\"encrypt\":");
    add_base64(out, master->encrypt, 32);
    vmbi_buf_addc(out, '}');
    return vmbi_buf_check(out, err, "master key");
}

vmb_code vmbi_restic_keyfile_seal(vmbi_restic_keyfile *k, const void *password, size_t len,
                                  const vmbi_restic_keys *master, vmb_error **err)
{
    vmbi_buf text = VMBI_BUF_INIT(MASTER_MAX);
    vmbi_restic_box *box = NULL;
    vmb_code code = VMB_OK;

    vmbi_buf_reserve(&text, MASTER_MAX); /* once: growing would leave copies of the key behind */
    code = print_master(master, &text, err);
    vmbi_random(k->salt, sizeof(k->salt));
    if (code == VMB_OK) {
        code = user_box(k, password, len, &box, err);
    }
    if (code == VMB_OK) {
        code = vmbi_restic_seal(box, text.data, text.len, k->data, err);
        k->data_len = text.len + VMBI_RESTIC_OVERHEAD;
    }
    vmbi_restic_box_free(box);
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap);
    }
    vmbi_buf_free(&text);
    return code;
}
