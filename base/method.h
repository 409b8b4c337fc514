/* base/method.h - what is known of an RPC method, as data.
 *
 * protoc-gen-waymark-c writes one table of these per service
 * (X.methods.c); the client and the server runtime both read it.
 */
#ifndef WAYMARK_BASE_METHOD_H
#define WAYMARK_BASE_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The method's option idempotency_level: what happens when a request comes twice. */
typedef enum wm_idempotency {
    WM_IDEMPOTENCY_UNKNOWN, /* a second one may do it again */
    WM_NO_SIDE_EFFECTS,     /* it only reads */
    WM_IDEMPOTENT           /* the second one changes nothing more, and gets such an answer */
} wm_idempotency;

typedef struct wm_method {
    const char *path; /* "/waymark.geo.v1.TrackService/GetEntity" */
    const char *name; /* "GetEntity" */
    bool client_streaming;
    bool server_streaming;
    bool deprecated;
    wm_idempotency idempotency;
    /* The option (waymark.common.v1.permission): what the caller must be allowed. NULL: it names
     * none, which by itself allows nothing to anybody. */
    const char *permission;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
} wm_method;

typedef struct wm_service {
    const char *name;         /* "waymark.geo.v1.TrackService" */
    const wm_method *methods; /* in proto order */
    size_t n_methods;
} wm_service;

#ifdef __cplusplus
}
#endif
#endif
