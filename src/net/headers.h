/* SPDX-License-Identifier: Apache-2.0 */
/* Private to net/: request headers of one try, and what the headers of an answer say. */
#ifndef VMBI_NET_HEADERS_H
#define VMBI_NET_HEADERS_H

#include <curl/curl.h>

#include "net/http.h"

struct vmbi_http_headers {
    struct curl_slist *list;
    char *url; /* owned; NULL: the request's */
    bool has_content_type;
    bool has_expect;
};

/* Drops the list, wiping it: it holds tokens and signatures. Keeps the URL. */
void vmbi_headers_clear(vmbi_http_headers *h);
void vmbi_headers_done(vmbi_http_headers *h);
/* Tells curl not to send a header of its own. */
vmb_code vmbi_headers_suppress(vmbi_http_headers *h, const char *name, vmb_error **err);

/* Takes one raw line of the answer (a status line starts a new answer). */
void vmbi_response_header_line(vmbi_http_response *r, const char *line, size_t len);
/* Fills in the parsed fields once all headers are there. */
void vmbi_response_headers_end(vmbi_http_response *r);
/* Forgets everything but the limits. */
void vmbi_response_reset(vmbi_http_response *r);

#endif
